"""Gateways and a runtime that each live their own life: real processes on both sides."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest

from adapters.errors import BackendError, FailureClass
from adapters.local.backend import Local
from adapters.local.settings import LocalSettings
from tests.adapters.local.backends import (
    PROGRAMS,
    answer,
    call,
    chunks,
    failure,
    standing,
    workers,
)
from tests.live import ROOT
from tests.local_runtime.server.live_runtime import LiveRuntime
from tests.waiting import until


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "s"


@pytest.fixture
def runtime(folder: Path) -> Iterator[LiveRuntime]:
    with LiveRuntime("echo.py:app", "--sockets", str(folder), "--grace", "0.2") as running:
        yield running


def attached(
    folder: Path, *, wait: bool = True, **settings: Any
) -> AbstractAsyncContextManager[Local]:
    """A backend over the workers in that folder; ready when it is yielded."""
    return standing(LocalSettings(sockets=str(folder), **settings), wait=wait)


@pytest.mark.usefixtures("runtime")
async def test_it_is_a_local_backend_like_any_other(folder: Path) -> None:
    """Answers, streams with credit, a ping, and what its workers say of themselves."""
    async with attached(folder) as backend:
        assert (await answer(backend, {"x": 1}))["echo"] == {"x": 1}
        got = await chunks(backend, {}, "chat")
        assert [chunk.kind for chunk in got] == ["data", "data", "usage", "done"]
        assert (await backend.ping()).exec_s
        assert backend.capabilities.tasks == {"infer", "infer_file", "chat", "other"}
        assert list(backend.start_stages) == ["process", "load", "init", "warmup"]
        await until(lambda: "home-0" in backend.memory())
        probe = await backend.probe()
        assert (probe.ready, probe.warm_workers, probe.detail) == (True, 1, "")
    async with attached(folder, handler="/count") as backend:
        got = await chunks(backend, {"to": 80, "pad": 100_000})
        assert [json.loads(chunk.data[6:])["number"] for chunk in got[:-1]] == list(range(80))


async def test_what_is_too_large_is_what_its_runtime_says(folder: Path) -> None:
    options = ("--sockets", str(folder), "--max-message", "200KB")
    with LiveRuntime("echo.py:app", *options):
        async with attached(folder) as backend:
            assert (await failure(backend, "x" * 200_001)).failure is FailureClass.TOO_LARGE
            assert backend.capabilities.max_request_bytes == 200_000 - 64 * 1024
            assert (await answer(backend, 1))["echo"] == 1


async def test_a_backend_without_a_runtime_is_loading_until_there_is_one(folder: Path) -> None:
    """And again when it has gone; the next one is found by itself."""
    async with attached(folder, wait=False) as backend:
        for _ in range(2):
            error = await failure(backend, {})
            assert error.failure is FailureClass.LOADING
            assert error.retry_after is not None
            assert f"there is no folder {folder}" in error.detail
            assert not (await backend.probe()).ready
            with LiveRuntime("echo.py:app", "--sockets", str(folder)):
                await until(lambda: backend.slots > 0)
                assert (await answer(backend, 1))["echo"] == 1
            await until(lambda: backend.slots == 0)
            await until(lambda: not folder.exists())
            await until(lambda: "there is no folder" in backend._workers.detail)


async def test_a_call_may_wait_for_a_runtime_that_comes(folder: Path) -> None:
    async with attached(folder, wait=False, wait_for_start=30) as backend:
        waiting = asyncio.create_task(backend.invoke(call(1)))
        await asyncio.sleep(0)
        with LiveRuntime("echo.py:app", "--sockets", str(folder)):
            reply = await waiting
            assert json.loads(reply.body)["echo"] == 1
            assert reply.usage.cold_s


async def test_a_worker_that_dies_fails_its_calls_at_once_and_its_successor_is_found(
    folder: Path, runtime: LiveRuntime
) -> None:
    async with attached(folder, handler="/sleep") as backend:
        running = asyncio.create_task(backend.invoke(call(60)))
        await until(lambda: "1 active" in repr(backend))
        (worker,) = runtime.workers()
        os.kill(worker, signal.SIGKILL)
        with pytest.raises(BackendError) as caught:
            await running
        assert caught.value.failure is FailureClass.WORKER_DIED
        await until(lambda: backend.slots > 0)
        assert await answer(backend, 0) == {"slept": 0}


async def test_a_runtime_that_is_told_to_end_lets_calls_end_and_takes_no_new_ones(
    folder: Path, runtime: LiveRuntime
) -> None:
    async with attached(folder, handler="/sleep") as backend:
        running = asyncio.create_task(backend.invoke(call(1.5)))
        await until(lambda: "1 active" in repr(backend))
        assert runtime.process is not None
        runtime.process.send_signal(signal.SIGTERM)
        await until(lambda: backend.slots == 0, "it drains")
        assert (await failure(backend, 0)).failure is FailureClass.LOADING
        assert json.loads((await running).body) == {"slept": 1.5}


GATEWAY = """
import asyncio, json, sys
from adapters.local.backend import Local
from adapters.local.settings import LocalSettings
from adapters.types import Call
from gateway.clock import SystemClock

async def main():
    backend = Local("home", LocalSettings(sockets=sys.argv[1]), SystemClock())
    await backend.start()
    while not backend.slots:
        await asyncio.sleep(0.01)
    body = json.dumps({"sleep": 60}).encode()
    await backend.invoke(Call(id="first", model="m", task="infer", body=body))

asyncio.run(main())
"""


async def test_a_gateway_that_is_killed_costs_its_own_calls_and_the_next_finds_the_model_warm(
    folder: Path, tmp_path: Path
) -> None:
    """Its call ends at the worker, which is the same process before and after."""
    program = tmp_path / "stage.py"
    program.write_bytes((PROGRAMS / "stage.py").read_bytes())
    with LiveRuntime(f"{program}:app", "--sockets", str(folder)) as runtime:
        before = runtime.workers()
        first = subprocess.Popen([sys.executable, "-c", GATEWAY, str(folder)], cwd=ROOT)
        try:
            await until(lambda: len(list(tmp_path.glob("*-first.running"))) == 1, "its call runs")
        finally:
            first.kill()
            first.wait()
        await until(lambda: not list(tmp_path.glob("*-first.running")), "its call has ended")
        async with attached(folder) as second:
            assert await answer(second, {"echo": "warm"}) == {"echo": "warm"}
        assert runtime.workers() == before


async def test_closing_a_backend_ends_its_calls_and_nothing_else(
    folder: Path, runtime: LiveRuntime
) -> None:
    before = runtime.workers()
    async with attached(folder, handler="/sleep") as backend:
        running = asyncio.create_task(backend.invoke(call(60)))
        await until(lambda: "1 active" in repr(backend))
    with pytest.raises(BackendError):
        await running
    assert runtime.workers() == before
    assert runtime.answers("/readyz")


async def test_two_gateways_share_the_workers_of_one_runtime(folder: Path) -> None:
    """Each sees the answers of its own calls alone, though both number them alike."""
    with LiveRuntime("echo.py:app", "--sockets", str(folder), "--workers", "2"):
        async with attached(folder) as one, attached(folder) as other:
            await workers(one, 2)
            await workers(other, 2)
            assert one.slots == other.slots
            calls = [(backend, n) for n in range(40) for backend in (one, other)]
            asked = [{"of": id(backend), "n": n} for backend, n in calls]
            got = await asyncio.gather(
                *(answer(backend, body) for (backend, _), body in zip(calls, asked, strict=True))
            )
            assert [one["echo"] for one in got] == asked
            assert len({one["pid"] for one in got}) == 2
            assert "0 active" in repr(one)
            assert await other.cancel("of another gateway") is None


async def test_calls_go_to_the_worker_that_another_gateway_leaves_idle(folder: Path) -> None:
    """The workers tell once a second how many calls of others they have."""
    with LiveRuntime("echo.py:app", "--sockets", str(folder), "--workers", "2"):
        async with attached(folder, handler="/sleep") as one, attached(folder) as other:
            await workers(one, 2)
            await workers(other, 2)
            long = asyncio.create_task(one.invoke(call(60)))
            await until(lambda: any(link.others for link in other._workers.connections))
            (idle,) = (link.name for link in other._workers.connections if not link.others)
            replies = [await other.invoke(call(n)) for n in range(3)]
            assert {reply.usage.worker for reply in replies} == {idle}
            long.cancel()
            await asyncio.gather(long, return_exceptions=True)
            await until(lambda: not any(link.others for link in other._workers.connections))


async def test_a_call_of_one_gateway_is_cancelled_without_the_others(folder: Path) -> None:
    """Though both have given it the same name."""
    with LiveRuntime("echo.py:app", "--sockets", str(folder)):
        async with (
            attached(folder, handler="/sleep") as one,
            attached(folder, handler="/sleep") as other,
        ):
            mine = asyncio.create_task(one.invoke(call(60, id="same")))
            theirs = asyncio.create_task(other.invoke(call(0.5, id="same")))
            await until(lambda: "1 active" in repr(one) and "1 active" in repr(other))
            await one.cancel("same")
            with pytest.raises(BackendError) as caught:
                await mine
            assert caught.value.failure is FailureClass.CANCELLED
            assert json.loads((await theirs).body) == {"slept": 0.5}
