"""SIGTERM ends it well, and SIGHUP or /admin changes its policy whole or not at all."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import httpx

from tests.e2e.observing import error_of, metric
from tests.live import LiveGateway
from tests.waiting import until

CONFIG = """
backends:
  home: {kind: local, app: tests/programs/echo.py:app, handler: /sleep, required: true}
models:
  sleep: {task: infer, backends: [home]}
"""
MORE = CONFIG + "  nap: {task: infer, backends: [home]}\n"
BROKEN = CONFIG + "  nap: {task: infer, backends: [nowhere]}\n"
TOGETHER = 8


async def test_on_sigterm_calls_under_way_are_answered_and_nothing_is_left_running(
    tmp_path: Path,
) -> None:
    """New connections are refused meanwhile, and the exit status is that of a success."""
    gateway = LiveGateway(tmp_path, CONFIG)
    with gateway:
        async with gateway.async_client() as client:
            naps = [2 + number / 100 for number in range(TOGETHER)]
            calls = [asyncio.create_task(client.post("/v1/infer/sleep", json=nap)) for nap in naps]
            await until(
                lambda: metric(gateway, "spillgate_in_flight", backend="home") == TOGETHER,
                "all calls are under way",
            )
            family = descendants(gateway.pid)
            assert family, "the worker and its supervisor are processes of their own"
            os.kill(gateway.pid, signal.SIGTERM)
            await until(lambda: gateway.status_of("/healthz") is None, "it takes nobody new")
            assert not any(call.done() for call in calls)
            answers = await asyncio.gather(*calls)
            assert [answer.status_code for answer in answers] == [200] * TOGETHER
            assert [answer.json()["slept"] for answer in answers] == naps
            assert gateway.process is not None
            assert await asyncio.to_thread(gateway.process.wait, 30) == 0
            assert not [pid for pid in family if Path(f"/proc/{pid}").exists()]


def descendants(pid: int) -> list[int]:
    found: list[int] = []
    for task in os.listdir(f"/proc/{pid}/task"):
        for child in Path(f"/proc/{pid}/task/{task}/children").read_text().split():
            found += [int(child), *descendants(int(child))]
    return found


async def test_on_sighup_a_broken_policy_changes_nothing_and_a_good_one_all(
    tmp_path: Path,
) -> None:
    with LiveGateway(tmp_path, CONFIG) as gateway:
        async with gateway.async_client() as client:
            gateway.write_config(BROKEN)
            gateway.reload()
            await until(lambda: reloads(gateway, "refused") == 1, "the reload is refused")
            await until(lambda: "the policy was not changed" in gateway.log, "the log says so")
            assert "nowhere" in gateway.log
            assert await models(client) == {"sleep"}
            assert await answered(client, "sleep")

            gateway.write_config(MORE)
            gateway.reload()
            await until(lambda: reloads(gateway, "applied") == 1, "the reload is done")
            assert await models(client) == {"sleep", "nap"}
            assert await answered(client, "nap")


async def test_what_only_a_restart_can_change_is_refused_on_sighup(tmp_path: Path) -> None:
    with LiveGateway(tmp_path, CONFIG) as gateway:
        gateway.write_config(MORE, server={"max_body": "1KiB"})
        gateway.reload()
        await until(lambda: reloads(gateway, "refused") == 1, "the reload is refused")
        async with gateway.async_client() as client:
            assert await models(client) == {"sleep"}


async def test_over_http_a_policy_is_put_in_force_refused_and_taken_back(tmp_path: Path) -> None:
    with LiveGateway(tmp_path, CONFIG) as gateway:
        head = gateway.config.read_text().removesuffix(CONFIG)
        async with gateway.async_client(gateway.admin_key) as client:
            before = (await client.get("/admin/policy")).json()["policy"]
            refused = await client.put("/admin/policy", content=head + BROKEN)
            assert error_of(refused) == (400, "invalid_policy")
            assert "nowhere" in refused.json()["error"]["message"]
            assert await models(client) == {"sleep"}

            put = await client.put("/admin/policy", content=head + MORE)
            assert put.status_code == 200
            assert await answered(client, "nap")
            assert (await client.get("/admin/policy")).json()["policy"] != before

            back = await client.post("/admin/policy/rollback")
            assert (back.status_code, back.json()["policy"]) == (200, before)
            assert await models(client) == {"sleep"}
            again = await client.post("/admin/policy/rollback")
            assert error_of(again) == (409, "no_earlier_policy")


def reloads(gateway: LiveGateway, result: str) -> float:
    return metric(gateway, "spillgate_policy_reloads_total", result=result)


async def models(client: httpx.AsyncClient) -> set[str]:
    answer = await client.get("/v1/models")
    assert answer.status_code == 200, answer.text
    listed: dict[str, Any] = answer.json()
    return {row["id"] for row in listed["data"]}


async def answered(client: httpx.AsyncClient, model: str) -> bool:
    return (await client.post(f"/v1/infer/{model}", content="0")).status_code == 200
