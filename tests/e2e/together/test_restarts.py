"""A rolling restart under load drops no call; one that cannot be done changes nothing; and a reload
is everybody's."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.together.gateways import CONFIG, alive, ask, gateway_in, started
from tests.live import LiveGateway
from tests.waiting import until


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[LiveGateway]:
    with gateway_in(tmp_path) as running:
        yield running


async def both(gateway: LiveGateway) -> list[int]:
    await until(lambda: len(alive(gateway)) == 2, "two serve")
    return alive(gateway)


def restart(gateway: LiveGateway) -> None:
    assert gateway.process is not None
    gateway.process.send_signal(signal.SIGUSR2)


class Load:
    """Whole answers and streams, on connections that are kept and on new ones, without a pause."""

    def __init__(self, gateway: LiveGateway) -> None:
        self.whole = 0
        self.streams = 0
        self.failures: list[str] = []
        self._gateway = gateway
        self._ended = False

    async def run(self) -> None:
        async with self._gateway.async_client() as client:
            await asyncio.gather(
                *(self._again(self._whole, client) for _ in range(6)),
                *(self._again(self._stream, client) for _ in range(4)),
                *(self._again(self._on_new_connection, client) for _ in range(2)),
            )

    def end(self) -> None:
        self._ended = True

    async def _again(self, call: Any, client: httpx.AsyncClient) -> None:
        while not self._ended:
            try:
                await call(client)
            except Exception as error:
                self.failures.append(f"{call.__name__}: {error!r}")

    async def _whole(self, client: httpx.AsyncClient) -> None:
        answer = await ask(client)
        assert answer.status_code == 200, answer.text
        self.whole += 1

    async def _on_new_connection(self, client: httpx.AsyncClient) -> None:
        async with self._gateway.async_client() as fresh:
            await self._whole(fresh)

    async def _stream(self, client: httpx.AsyncClient) -> None:
        answer = await client.post(
            "/v1/infer/count",
            json={"to": 5, "pause": 0.05},
            headers={"accept": "text/event-stream"},
            timeout=120.0,
        )
        assert answer.status_code == 200, answer.text
        assert answer.text.count('"number"') == 5
        assert answer.text.endswith("data: [DONE]\n\n"), answer.text
        self.streams += 1


async def test_a_rolling_restart_under_load_drops_no_call(gateway: LiveGateway) -> None:
    old = await both(gateway)
    load = Load(gateway)
    running = asyncio.create_task(load.run())
    try:
        await until(lambda: load.whole > 50 and load.streams > 5, "the load runs")
        restart(gateway)
        await until(lambda: not {*old} & {*alive(gateway)}, "the old ones are gone")
        whole, streams = load.whole, load.streams
        await until(lambda: load.whole > whole + 50 and load.streams > streams + 5, "it goes on")
    finally:
        load.end()
        await running
    assert load.failures == []
    assert len(alive(gateway)) == 2
    assert len(started(gateway)) == 4


async def test_a_policy_that_is_none_leaves_the_old_processes(gateway: LiveGateway) -> None:
    old = await both(gateway)
    key = gateway.user_key
    gateway.write_config(CONFIG.replace("task: infer", "task: guess"))
    restart(gateway)
    await until(lambda: "the policy was not changed" in gateway.log, "it is refused")
    assert alive(gateway) == old
    async with gateway.async_client(key) as client:
        answer = await ask(client)
        assert answer.status_code == 200, answer.text


async def test_a_reload_is_in_force_in_both_and_so_is_a_restart(gateway: LiveGateway) -> None:
    await both(gateway)
    before = await versions(gateway)
    assert len(before) == 1
    gateway.write_config(CONFIG.replace("concurrent: 5000", "concurrent: 4000"))
    gateway.reload()
    await until(lambda: changed(gateway, before), "the policy is another one")
    reloaded = await versions(gateway)
    assert len(reloaded) == 1
    gateway.write_config(CONFIG.replace("workers: 2", "workers: 1"))
    gateway.reload()
    await until(lambda: "takes a rolling restart, SIGUSR2" in gateway.log, "it is refused")
    assert await versions(gateway) == reloaded
    restart(gateway)
    await until(lambda: changed(gateway, reloaded), "the new processes serve another one")
    await until(lambda: len(started(gateway)) == 4 and len(alive(gateway)) == 2, "all are new")
    assert len(await versions(gateway)) == 1
    async with gateway.async_client() as client:
        answer = await ask(client)
        assert answer.status_code == 200, answer.text


async def changed(gateway: LiveGateway, before: set[str]) -> bool:
    return not before & await versions(gateway)


async def versions(gateway: LiveGateway) -> set[str]:
    """Of the policies of whoever answers ten new connections."""

    async def one() -> str:
        async with gateway.async_client("") as client:
            version: str = (await client.get("/readyz")).json()["policy"]
            return version

    return {await one() for _ in range(10)}


async def test_a_process_that_hangs_in_a_reload_is_ended_and_replaced(
    gateway: LiveGateway,
) -> None:
    hung, other = await both(gateway)
    os.kill(hung, signal.SIGSTOP)
    assert gateway.process is not None
    gateway.process.send_signal(signal.SIGHUP)
    os.kill(other, signal.SIGKILL)
    await until(lambda: len(alive(gateway)) == 2 and not {hung, other} & {*alive(gateway)}, "both")
    assert f"process {hung} did not read the policy in time" in gateway.log
    async with gateway.async_client() as client:
        await until(lambda: _answers(client), "calls are answered")


async def _answers(client: httpx.AsyncClient) -> bool:
    try:
        return (await ask(client)).status_code == 200
    except httpx.HTTPError:
        return False
