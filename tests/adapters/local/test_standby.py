"""A spare process takes over when a worker dies."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from typing import Any

import pytest

from adapters.local.backend import Local
from local_runtime.protocol.events import Standby
from tests.adapters.local.backends import alive, answer, failure, parent_of, processes, running
from tests.waiting import until


@pytest.mark.parametrize("standby", ["imported", "loaded"])
async def test_the_spare_that_waits_becomes_the_worker_that_died(standby: Standby) -> None:
    """The process that answers next is the one that was there already, and another one waits."""
    async with running("slow_start.py:app", standby=standby) as backend:
        before = await answer(backend, "live")
        spare = await waiting_spare(backend, before["pid"])
        os.kill(before["pid"], signal.SIGKILL)
        after = await successor(backend, before["pid"])
        assert after["pid"] == spare
        assert after["worker"] == "0"
        await until(lambda: backend.spares == 1)
        assert len(processes()) == 2


@pytest.mark.parametrize("standby", ["imported", "loaded"])
async def test_a_spare_that_took_over_computes_on_the_devices_of_its_place(
    standby: Standby,
) -> None:
    """One that has loaded the model has done so where that worker was."""
    async with running(
        "slow_start.py:app", standby=standby, workers=2, device="cpu,auto"
    ) as backend:
        await until(lambda: backend.spares == (1 if standby == "imported" else 2))
        before = await tell_all(backend, without=0)
        for device, visible in (("cpu", ""), ("auto", os.environ.get("CUDA_VISIBLE_DEVICES"))):
            os.kill(before[device]["pid"], signal.SIGKILL)
            after = await tell_all(backend, without=before[device]["pid"])
            assert after[device]["init_saw"] == visible


async def test_a_spare_that_dies_is_no_death_of_a_worker_and_is_replaced() -> None:
    """Callers notice nothing."""
    async with running("slow_start.py:app", standby="imported") as backend:
        before = await answer(backend, "live")
        spare = await waiting_spare(backend, before["pid"])
        os.kill(spare, signal.SIGKILL)
        await until(lambda: not alive(spare))
        await until(lambda: backend.spares == 0)
        assert (await answer(backend, "live"))["pid"] == before["pid"]
        assert await waiting_spare(backend, before["pid"]) != spare


async def test_a_worker_that_dies_while_no_spare_waits_is_started_from_scratch() -> None:
    """The spare was used up a moment ago."""
    async with running("slow_start.py:app", standby="imported") as backend:
        first = await answer(backend, "live")
        spare = await waiting_spare(backend, first["pid"])
        await failure(backend, "die")
        assert (await successor(backend, first["pid"]))["pid"] == spare
        await failure(backend, "die")
        assert (await successor(backend, spare))["pid"] not in {spare, first["pid"]}


@pytest.mark.parametrize("victim", ["backend", "supervisor"])
async def test_nothing_is_left_of_a_spare_whose_backend_ends(victim: str) -> None:
    """In peace, or because its supervisor is killed."""
    async with running("slow_start.py:app", standby="loaded") as backend:
        before = await answer(backend, "live")
        spare = await waiting_spare(backend, before["pid"])
        if victim == "supervisor":
            os.kill(parent_of(spare), signal.SIGKILL)
        await backend.aclose()
        await until(lambda: not alive(spare))


async def waiting_spare(backend: Local, worker: int) -> int:
    """The process id of the one spare, once it waits."""
    await until(lambda: backend.spares == 1)
    (spare,) = (pid for pid in processes() if pid != worker)
    return spare


async def successor(backend: Local, pid: int) -> dict[str, Any]:
    """What the one worker says that came after the process ``pid``."""
    (told,) = (await tell_all(backend, without=pid, devices=1)).values()
    return told


async def tell_all(backend: Local, *, without: int, devices: int = 2) -> dict[str, dict[str, Any]]:
    """What each worker says of itself, by its device, once the process ``without`` is no longer
    among them: two calls at once go to two workers."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        calls = (answer(backend, "live") for _ in range(devices))
        told = await asyncio.gather(*calls, return_exceptions=True)
        good = {one["device"]: one for one in told if isinstance(one, dict)}
        if len(good) == devices and without not in {one["pid"] for one in good.values()}:
            return good
        await asyncio.sleep(0.01)
    raise AssertionError("not all of them answered")
