"""Local workers that die, hang, or never start; and a gateway that dies on them."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from adapters.errors import BackendError, FailureClass
from adapters.local.backend import Local
from adapters.local.bounds import LocalWorkers
from adapters.types import Reply
from tests.adapters.local.backends import (
    PROGRAMS,
    alive,
    answer,
    call,
    failure,
    parent_of,
    pids,
    running,
    workers,
)
from tests.waiting import until

# --- deaths -------------------------------------------------------------------------------------


async def test_a_killed_worker_fails_its_calls_at_once_and_comes_back() -> None:
    """The other worker's calls are not touched."""
    async with running("echo.py:app", workers=2, handler="/sleep") as backend:
        await workers(backend, 2)
        naps = [0.6 + number / 100 for number in range(6)]
        calls = [asyncio.create_task(backend.invoke(call(nap))) for nap in naps]
        await until(lambda: "6 active" in repr(backend))
        os.kill(pids()[0], signal.SIGKILL)
        got = await asyncio.gather(*calls, return_exceptions=True)
        dead = [error for error in got if isinstance(error, BackendError)]
        assert [error.failure for error in dead] == [FailureClass.WORKER_DIED] * 3
        kept = [(nap, one) for nap, one in zip(naps, got, strict=True) if isinstance(one, Reply)]
        assert [json.loads(reply.body)["slept"] for _, reply in kept] == [nap for nap, _ in kept]
        assert len(kept) == 3
        await workers(backend, 2)
        assert await answer(backend, 0) == {"slept": 0}


@pytest.mark.parametrize("way", ["kill", "exit"])
async def test_a_handler_that_takes_its_process_down_fails_its_call_cleanly(way: str) -> None:
    """And the next call finds a new worker."""
    async with running("broken/die_in_handler.py:app") as backend:
        before = await answer(backend, "live")
        assert (await failure(backend, way)).failure is FailureClass.WORKER_DIED
        assert (await failure(backend, "live")).failure is FailureClass.LOADING
        await until(lambda: backend.slots > 0)
        assert (await answer(backend, "live"))["pid"] != before["pid"]


async def test_a_call_whose_worker_died_is_run_by_no_other_of_workers_that_come_and_go() -> None:
    """It may have done its work: whether it is asked again is the gateway's to say."""
    bounds = LocalWorkers(min=2, max=2)
    async with running("broken/die_in_handler.py:app", workers=bounds) as backend:
        await workers(backend, 2)
        assert (await failure(backend, "kill")).failure is FailureClass.WORKER_DIED
        assert (await answer(backend, "live"))["pid"], "the other one lives"


async def test_a_handler_that_calls_sys_exit_has_failed_and_nothing_more() -> None:
    """It ends its call, not its worker."""
    async with running("broken/die_in_handler.py:app") as backend:
        assert "SystemExit" in (await failure(backend, "sys.exit")).message
        assert (await answer(backend, "live"))["pid"]


async def test_a_handler_that_never_returns_times_out_and_its_worker_is_replaced() -> None:
    """The call fails at its time-out; nothing can stop the handler but a new process."""
    async with running("broken/die_in_handler.py:app") as backend:
        before = await answer(backend, "live")
        error = await failure(backend, "hang")
        assert error.failure is FailureClass.TIMEOUT
        assert "0.3 s" in error.message
        await until(lambda: backend.slots == 0)
        await until(lambda: backend.slots > 0)
        assert (await answer(backend, "live"))["pid"] != before["pid"]


async def test_a_handler_that_spins_past_its_calls_deadline_loses_its_worker_too() -> None:
    """``max_run`` is shorter than the handler's own time-out, and counts."""
    async with running("broken/die_in_handler.py:app", handler="/spin") as backend:
        before = pids()
        late = call(None, deadline=asyncio.get_running_loop().time() + 0.5)
        with pytest.raises(BackendError) as caught:
            await backend.invoke(late)
        assert caught.value.failure is FailureClass.TIMEOUT
        await until(lambda: backend.slots > 0 and pids() != before)


async def test_who_waits_behind_a_handler_that_does_not_return_was_not_begun() -> None:
    """So another backend may have those calls; and none is sent to that worker any more."""
    now = asyncio.get_running_loop().time()
    late = [call(None, deadline=now + 0.5), call(None, deadline=now + 0.5), call(None)]
    broken = "broken/die_in_handler.py:app"
    async with running(broken, handler="/spin", grace=30.0, wait_for_start=None) as backend:
        tasks = [asyncio.create_task(backend.invoke(each)) for each in late]
        failures = await asyncio.gather(*tasks[:2], return_exceptions=True)
        assert backend.slots == 0
        assert (backend.ready_in() or 0.0) > 0.0
        tasks[2].cancel()
        await asyncio.wait(tasks)
    assert [getattr(each, "failure", None) for each in failures] == [FailureClass.TIMEOUT] * 2
    assert [each.progress.queued_until > now for each in late] == [False, True, True]


async def test_a_worker_whose_interpreter_is_held_is_replaced_by_its_silence() -> None:
    """No thread of it can run, so only the missing heartbeat tells."""
    async with running("broken/die_in_handler.py:app", silence=2.5) as backend:
        error = await failure(backend, "hold the interpreter")
        assert error.failure is FailureClass.WORKER_DIED
        await until(lambda: backend.slots > 0)
        assert (await answer(backend, "live"))["pid"]


async def test_a_worker_that_dies_in_the_middle_of_a_stream_has_cut_it(tmp_path: Path) -> None:
    """A truncated answer never looks whole."""
    async with running("broken/die_in_handler.py:app") as backend:
        flag = tmp_path / "die"
        reply = await backend.invoke(call({"until": str(flag)}, "chat", stream=True))
        assert reply.chunks is not None
        await anext(reply.chunks)
        flag.touch()
        with pytest.raises(BackendError) as caught:
            await anext(reply.chunks)
        assert caught.value.failure is FailureClass.TRUNCATED


async def test_a_supervisor_that_is_killed_takes_its_workers_along_and_is_replaced() -> None:
    """Nothing is orphaned, and the backend comes back by itself."""
    async with running("echo.py:app") as backend:
        (worker,) = pids()
        os.kill(parent_of(worker), signal.SIGKILL)
        await until(lambda: not alive(worker))
        await until(lambda: backend.slots == 0)
        await until(lambda: backend.slots > 0)
        assert pids() != [worker]


async def test_closing_ends_every_process_and_may_be_done_twice() -> None:
    """And leaves no folder of sockets behind."""
    async with running("echo.py:app", workers=2) as backend:
        await workers(backend, 2)
        mine = pids()
        folder = Path(socket_of(mine[0])).parent
        processes = [*mine, parent_of(mine[0])]
        await backend.aclose()
        assert not any(alive(pid) for pid in processes)
        assert not folder.exists()
        assert (await failure(backend, {})).failure is FailureClass.LOADING


async def test_closing_while_a_worker_still_loads_ends_it_too() -> None:
    """It has nothing to finish."""
    async with running("broken/hang_in_init.py:app", wait=False) as backend:
        await until(lambda: len(pids()) == 1)
        mine = pids()
        await backend.aclose()
        assert not alive(mine[0])


async def test_closing_at_once_after_the_start_leaves_nothing() -> None:
    """Not even a process that was only just being born."""
    async with running("echo.py:app", wait=False) as backend:
        await backend.aclose()
        assert pids() == []


GATEWAY = """
import asyncio, sys
from adapters.local.backend import Local
from adapters.local.settings import LocalSettings
from gateway.clock import SystemClock

async def main():
    backend = Local("home", LocalSettings(app=sys.argv[1], workers=2), SystemClock())
    await backend.start()
    while (await backend.probe()).warm_workers != 2:
        await asyncio.sleep(0.01)
    print("ready", flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""


async def test_nothing_outlives_a_gateway_that_is_killed() -> None:
    """SIGKILL leaves it no time to tell anybody: its supervisor sees that stdin has ended."""
    gateway = subprocess.Popen(
        [sys.executable, "-c", GATEWAY, str(PROGRAMS / "echo.py:app")], stdout=subprocess.PIPE
    )
    try:
        assert gateway.stdout is not None
        assert await asyncio.to_thread(gateway.stdout.readline) == b"ready\n"
        mine = pids(gateway.pid)
        folder = Path(socket_of(mine[0])).parent
        processes = [*mine, parent_of(mine[0])]
        assert len(processes) == 3
    finally:
        gateway.kill()
        gateway.communicate()
    await until(lambda: not any(alive(pid) for pid in processes))
    assert not folder.exists()


def socket_of(pid: int) -> str:
    words = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    return words[words.index("--socket") + 1]


# --- starts that fail ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("app", "words"),
    [
        (
            "broken/exit_in_init.py:app",
            "exited with status 7 before it was ready; its last line: about",
        ),
        ("broken/raise_in_init.py:app", "init failed: RuntimeError: no weights here"),
        (
            "broken/fail_in_warmup.py:app",
            "the warm-up of / failed: the model's handler failed (KeyError)",
        ),
    ],
)
async def test_an_app_that_cannot_start_says_why_and_is_tried_again(app: str, words: str) -> None:
    """Calls are told that it is loading, and when to come back."""
    async with running(app, wait=False) as backend:
        detail = await defunct(backend)
        assert words in detail
        assert "not started again" not in detail
        error = await failure(backend, {})
        assert error.failure is FailureClass.LOADING
        assert error.retry_after is not None
        assert error.retry_after >= 1


async def test_no_call_waits_for_an_app_of_which_no_start_goes_well() -> None:
    """One start may fail by chance; after two, who waits is told, and may go elsewhere."""
    async with running("broken/raise_in_init.py:app", wait=False, wait_for_start=600) as backend:
        error = await failure(backend, {})
        assert error.failure is FailureClass.LOADING
        assert "init failed: RuntimeError: no weights here" in error.told
        assert (await backend.probe()).stuck
        assert (await failure(backend, {})).failure is FailureClass.LOADING


@pytest.mark.parametrize(
    ("app", "words"),
    [
        ("no_such_file.py:app", "no such file"),
        ("broken/no_handlers.py:app", "has no handlers"),
        ("broken/no_handlers.py:other", "is a dict, not a local_runtime.Runtime"),
        ("broken/no_handlers.py:missing", "has nothing named 'missing'"),
    ],
)
async def test_an_app_that_does_not_exist_is_named_and_not_tried_again(
    app: str, words: str
) -> None:
    """No restart storm: only a new policy can help."""
    async with running(app, wait=False) as backend:
        detail = await defunct(backend)
        assert words in detail
        assert "it is not started again" in detail


async def test_an_init_that_never_returns_is_ended_at_the_start_timeout() -> None:
    """And said so."""
    async with running("broken/hang_in_init.py:app", wait=False, start_timeout=1.0) as backend:
        assert "it was not ready within 1 s" in await defunct(backend)


async def defunct(backend: Local) -> str:
    """Why the first worker that died did."""
    detail = ""

    async def told() -> bool:
        nonlocal detail
        probe = await backend.probe()
        assert not probe.ready
        detail = probe.detail
        return "worker 0" in detail

    await until(told, "a worker is dead")
    return detail
