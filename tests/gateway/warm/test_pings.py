"""A backend that is asked at once: by what it has, paid by the warm pool, never past a limit."""

from __future__ import annotations

import asyncio
from pathlib import Path

from adapters.errors import BackendError, FailureClass
from adapters.types import Probe
from gateway.clock import FakeClock
from gateway.money.scopes import ACCOUNT
from gateway.storage.queries import UsageQuery
from tests.gateway.assembled import POLICY, assembled
from tests.waiting import until

PING = "/admin/backends/burst/ping"
TIGHT = POLICY + "\nlimits: {warm_pool: {spend: 0.001 USD/day}}\n"


async def test_a_ping_says_what_it_costs_and_is_a_row_of_the_warm_pool(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock) as gateway:
        burst = gateway.fake("burst")
        burst.runs_for = 0.25
        async with gateway.client(gateway.key("root", admin=True)) as client:
            quote = (await client.get(PING)).json()
            asking = asyncio.create_task(client.post(PING))
            await until(lambda: burst.pings > 0, "it is pinged")
            await clock.advance(burst.runs_for + burst.cold_s)
            told = (await asking).json()
            row = (await client.get(f"/usage/{told['row']}")).json()
        assert (quote["means"], quote["charged"], quote["account"]) == ("ping", True, ACCOUNT)
        assert 0 < float(quote["expected_usd"]) <= float(quote["at_most_usd"])
        assert told["outcome"] == "success"
        assert float(told["cost_usd"]) == float(row["cost_usd"]) > 0
        assert (row["user"], row["kind"], row["reason"]) == (ACCOUNT, "ping", "operator")


async def test_whoever_hangs_up_has_pinged_all_the_same(tmp_path: Path, clock: FakeClock) -> None:
    """The platform bills what was begun: so it is a row, settled once."""
    async with assembled(tmp_path, clock) as gateway:
        burst = gateway.fake("burst")
        burst.runs_for = 0.25
        async with gateway.client(gateway.key("root", admin=True)) as client:
            asking = asyncio.create_task(client.post(PING))
            await until(lambda: burst.pings > 0, "it is pinged")
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
            await clock.advance(burst.runs_for + burst.cold_s)
        query = UsageQuery(group_by=("outcome",), where={"kind": "ping"})

        async def settled() -> bool:
            return bool((await gateway.inner.ledger.usage(query)).rows)

        while not await settled():
            await asyncio.sleep(0)
        (row,) = (await gateway.inner.ledger.usage(query)).rows
        assert row.group["outcome"] == "success"
        assert row.cost_nano > 0


async def test_a_limit_without_room_refuses_a_ping_and_asks_nobody(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with (
        assembled(tmp_path, clock, TIGHT) as gateway,
        gateway.client(gateway.key("root", admin=True)) as client,
    ):
        answer = await client.post(PING)
        assert (answer.status_code, answer.json()["error"]["code"]) == (402, "budget_exhausted")
        assert "Nothing was asked" in answer.json()["error"]["message"]
        assert gateway.fake("burst").pings == 0
        acts = (await client.get("/admin/audit?act=backend.ping")).json()["data"]
        assert [one["outcome"] for one in acts] == ["refused: budget_exhausted", "begun"]


async def test_a_free_question_wakes_nobody_and_what_fails_is_told_with_its_row(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with (
        assembled(tmp_path, clock) as gateway,
        gateway.client(gateway.key("root", admin=True)) as client,
    ):
        burst = gateway.fake("burst")
        told = (await client.post(PING, json={"free": True})).json()
        probe: Probe = await burst.probe()
        assert (told["means"], told["ready"], told["row"]) == ("probe", probe.ready, None)
        assert burst.pings == 0
        burst.refuses = BackendError(FailureClass.OVERLOADED, "no room")
        told = (await client.post(PING)).json()
        assert (told["outcome"], told["error"], told["cost_usd"]) == ("error", "overloaded", "0")
        assert (await client.get(f"/usage/{told['row']}")).json()["outcome"] == "error"
        assert (await client.post(PING, content=b'{"fee": 1}')).status_code == 400
        assert (await client.post("/admin/backends/none/ping")).status_code == 404
        assert (await client.get("/admin/backends/none/ping")).status_code == 404
