"""Gateways that share a PostgreSQL database: it dies under load, they die under load, and what the
clients saw answered is what was settled."""

from __future__ import annotations

import asyncio
import collections
import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import httpx
import pytest

from tests.e2e.observing import error_of, metric
from tests.e2e.servers.paid import PaidServer
from tests.live import LiveGateway
from tests.postgres_server import PostgresServer, require_postgres
from tests.waiting import until

CONFIG = """
backends:
  paid: {{kind: openai, base_url: "{url}", price: calls}}
  home: {{kind: local, app: tests/programs/echo.py:app, required: true}}
models:
  chat: {{task: chat, backends: [paid]}}
  near: {{task: infer, backends: [home]}}
prices:
  calls: {{per_call: 0.0001, as_of: 2026-11-01, source: test}}
plans:
  default: {{requests: 1000000/minute, concurrent: 1000, spend: 100 USD/month}}
"""
DURABLE = {"fsync": "on", "synchronous_commit": "on"}
BODIES = {
    "/v1/chat/completions": {"model": "chat", "messages": [{"role": "user", "content": "hi"}]},
    "/v1/infer/near": {"echo": "near"},
}


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    """One that keeps what it has acknowledged."""
    require_postgres()
    with PostgresServer(DURABLE) as server:
        yield server


@pytest.fixture
def paid() -> Iterator[PaidServer]:
    with PaidServer() as server:
        yield server


def gateway_of(folder: Path, name: str, server: PostgresServer, paid: PaidServer) -> LiveGateway:
    """Of a machine of its own: it shares nothing but the database."""
    place = folder / name
    place.mkdir()
    return LiveGateway(
        place,
        CONFIG.format(url=paid.url),
        server={"access_log": False},
        store={"ledger": server.url()},
    )


async def call_on(client: httpx.AsyncClient, path: str, seen: list[httpx.Response]) -> None:
    """Until nobody answers."""
    while True:
        try:
            seen.append(await client.post(path, json=BODIES[path], timeout=5.0))
        except httpx.TransportError:
            return


def ids(seen: list[httpx.Response]) -> set[str]:
    return {answer.headers["x-request-id"] for answer in seen if answer.status_code == 200}


async def test_a_server_killed_again_and_again_under_load_loses_and_doubles_nothing(
    tmp_path: Path, server: PostgresServer, paid: PaidServer
) -> None:
    """By SIGKILL and by an immediate shutdown. While it is gone calls are told 503 at once; when it
    is back the gateway serves by itself, and has settled what waited."""
    gateway = gateway_of(tmp_path, "one", server, paid)
    seen: list[httpx.Response] = []
    with gateway:
        async with gateway.async_client() as client:
            callers = [
                asyncio.create_task(call_on(client, path, seen))
                for path in BODIES
                for _ in range(4)
            ]
            for how in (signal.SIGKILL, signal.SIGQUIT, signal.SIGKILL):
                before = len(ids(seen))
                await until(lambda: len(ids(seen)) > before + 50, "it serves")  # noqa: B023
                await asyncio.to_thread(server.stop, how)
                refused = len(seen) - len(ids(seen))
                await until(lambda: len(seen) - len(ids(seen)) > refused + 5, "refused")  # noqa: B023
                assert gateway.status_of("/readyz") == 503
                await asyncio.to_thread(server.start)
                await until(lambda: gateway.status_of("/readyz") == 200, "it is ready")
            for caller in callers:
                caller.cancel()
            await asyncio.gather(*callers, return_exceptions=True)
        await until(lambda: metric(gateway, "spillgate_settlements_waiting") == 0, "all is settled")
    told = collections.Counter(
        (200, "") if answer.status_code == 200 else error_of(answer) for answer in seen
    )
    assert set(told) == {(200, ""), (503, "store_unavailable")}
    check_the_books(server, ids(seen))


def check_the_books(server: PostgresServer, answered: set[str]) -> None:
    rows = server.query("SELECT id, outcome, cost_nano, hold_nano FROM spillgate.entries")
    outcomes = {id: outcome for id, outcome, _, _ in rows}
    assert len(outcomes) == len(rows)
    assert {outcomes.get(id) for id in answered} <= {"success", "interrupted"}
    assert all(int(cost) <= int(hold) or outcome == "success" for _, outcome, cost, hold in rows)
    assert all(int(cost) == 0 for _, outcome, cost, _ in rows if outcome == "error")
    assert server.query("SELECT count(*) FROM spillgate.open_entries") == [["0"]]


async def test_two_gateways_share_keys_ledger_and_reports(
    tmp_path: Path, server: PostgresServer, paid: PaidServer
) -> None:
    """A key that was made at one is known at the other, and so is its end; either reports all."""
    with (
        gateway_of(tmp_path, "one", server, paid) as one,
        gateway_of(tmp_path, "two", server, paid) as two,
    ):
        with one.client(one.admin_key) as admin:
            made = admin.post("/admin/keys", json={"user": "bob"}).json()
        client, other = one.async_client(made["key"]), two.async_client(made["key"])
        async with client, other:
            await until(partial(answers, other, 200), "the key is known")
            for each in (client, other, other):
                await each.post("/v1/chat/completions", json=BODIES["/v1/chat/completions"])
            for each in (client, other):
                usage = (await each.get("/usage?group_by=model")).json()
                assert [(row["model"], row["calls"]) for row in usage["rows"]] == [("chat", 3)]
            with two.client(two.admin_key) as admin:
                await until(lambda: admin.delete(f"/admin/keys/{made['id']}").status_code == 200)
            assert await answers(other, 401)
            await until(partial(answers, client, 401), "its end is known")


async def answers(client: httpx.AsyncClient, status: int) -> bool:
    return (await client.get("/v1/models")).status_code == status


async def test_what_a_killed_gateway_left_open_is_settled_once_by_its_next_start(
    tmp_path: Path, server: PostgresServer, paid: PaidServer
) -> None:
    """And never by another that is alive meanwhile: its rows are its own."""
    seen: list[httpx.Response] = []
    one, two = (gateway_of(tmp_path, name, server, paid) for name in ("one", "two"))
    with two:
        for _ in range(3):
            one.start()
            before = len(ids(seen))
            async with one.async_client() as client, two.async_client(one.user_key) as beside:
                callers = [
                    asyncio.create_task(call_on(client, path, seen))
                    for path in BODIES
                    for _ in range(4)
                ]
                elsewhere = asyncio.create_task(call_on(beside, "/v1/chat/completions", seen))
                await until(lambda: len(ids(seen)) > before + 50, "it serves")  # noqa: B023
                await asyncio.to_thread(one.kill)
                await asyncio.gather(*callers)
                elsewhere.cancel()
                await asyncio.gather(elsewhere, return_exceptions=True)
        one.start()
        one.stop()
    check_the_books(server, ids(seen))
