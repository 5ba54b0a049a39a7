"""What a worker does to itself, its neighbours never notice: the table of docs/runtime.md."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest

from adapters.errors import BackendError, FailureClass
from adapters.local.backend import Local
from adapters.types import Reply, Task
from tests.adapters.local.backends import answer, call, failure, parent_of, pids, running, workers
from tests.waiting import until

MIB = 1024 * 1024
BOUND_MIB = 60
"""What a supervisor may occupy whatever its workers do."""

DEATHS = {
    "be_killed_for_memory": "killed by SIGKILL (out of memory?)",
    "be_killed_by_a_limit": "killed by SIGXCPU",
    "write_to_null": "killed by SIGSEGV; the log has its stack",
    "abort": "killed by SIGABRT; the log has its stack",
    "leave": "exited with status 3",
}


@pytest.mark.parametrize("way", DEATHS)
async def test_a_death_fails_its_own_call_and_no_other_and_the_worker_is_replaced(
    way: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The call may be tried elsewhere: it is WORKER_DIED."""
    async with running("broken/misbehave.py:app", workers=2) as backend:
        await workers(backend, 2)
        ended = await beside_a_neighbour(backend, {"do": way})
        assert isinstance(ended, BackendError)
        assert ended.failure is FailureClass.WORKER_DIED
        await two_again(backend)
        assert DEATHS[way] in caplog.text


@pytest.mark.parametrize(
    ("body", "task"), [({"do": "never_return"}, "infer"), ({}, "chat")], ids=["sync", "async"]
)
async def test_a_handler_that_holds_its_thread_times_out_and_its_worker_is_replaced(
    body: object, task: Task
) -> None:
    """Whether it says async or not. The call is not repeated: it may have had effects."""
    async with running("broken/misbehave.py:app", workers=2) as backend:
        await workers(backend, 2)
        before = pids()
        ended = await beside_a_neighbour(backend, body, task)
        assert isinstance(ended, BackendError)
        assert ended.failure is FailureClass.TIMEOUT
        await until(lambda: len(pids()) == 2 and len({*pids(), *before}) == 3)
        await two_again(backend)


async def test_an_allocation_that_fails_fails_its_call_and_leaves_the_worker_alive() -> None:
    """The handler has run and failed: it is not repeated."""
    async with running("broken/misbehave.py:app") as backend:
        before = await answer(backend, "live")
        error = await failure(backend, {"do": "raise_memory_error"})
        assert error.failure is FailureClass.FAILED
        assert "MemoryError" in error.message
        assert await answer(backend, "live") == before


async def test_a_flood_of_output_holds_up_neither_its_worker_nor_its_supervisor() -> None:
    """Hundreds of MiB go by; what nobody reads in time is left out and counted."""
    async with running("broken/misbehave.py:app", workers=2) as backend:
        await workers(backend, 2)
        ended = await beside_a_neighbour(backend, {"do": "flood"}, "completions")
        assert isinstance(ended, Reply)
        assert ended.body == b'"flooded"'
        assert resident_mib(parent_of(pids()[0])) < BOUND_MIB


async def test_a_result_of_100_mib_is_delivered() -> None:
    """It is below the largest message unless a policy says less; it never passes the supervisor."""
    async with running("broken/misbehave.py:app", workers=2) as backend:
        await workers(backend, 2)
        ended = await beside_a_neighbour(backend, {"do": "big_result"}, "completions")
        assert isinstance(ended, Reply)
        assert len(ended.body) == 100 * MIB + 2
        assert resident_mib(parent_of(pids()[0])) < BOUND_MIB


async def test_a_result_past_the_largest_message_is_an_error_that_says_so() -> None:
    """And the worker serves on."""
    async with running("broken/misbehave.py:app", max_message=16 * MIB) as backend:
        before = await answer(backend, "live")
        error = await failure(backend, {"do": "big_result"}, "completions")
        assert error.failure is FailureClass.FAILED
        assert error.message.startswith("the result is 104857602 bytes; the limit is ")
        assert await answer(backend, "live") == before


async def test_a_cancelled_handler_that_looks_ends_and_its_worker_serves_on(
    tmp_path: Path,
) -> None:
    """The token reaches it."""
    async with running("broken/misbehave.py:app") as backend:
        before = await answer(backend, "live")
        await cancelled_once_it_runs(backend, "listening", tmp_path / "flag")
        assert await answer(backend, "live") == before


async def test_a_cancelled_handler_that_does_not_look_ends_with_its_worker_at_its_time_out(
    tmp_path: Path,
) -> None:
    """Not before: a caller that hangs up must not be able to cost a restart at once."""
    async with running("broken/misbehave.py:app") as backend:
        before = await answer(backend, "live")
        await cancelled_once_it_runs(backend, "deaf", tmp_path / "flag")
        await until(lambda: pids() not in ([before], []))
        await until(lambda: backend.slots > 0)
        assert await answer(backend, "live") != before


async def cancelled_once_it_runs(backend: Local, way: str, flag: Path) -> None:
    asked = call({"do": way, "flag": str(flag)})
    running_call = asyncio.create_task(backend.invoke(asked))
    await until(flag.exists)
    await backend.cancel(asked.id)
    with pytest.raises(BackendError) as caught:
        await running_call
    assert caught.value.failure is FailureClass.CANCELLED


async def beside_a_neighbour(
    backend: Local, body: object, task: Task = "infer"
) -> Reply | BackendError:
    """How a call ends while another worker serves call after call, none of which fails."""
    ending = asyncio.create_task(backend.invoke(call(body, task)))
    await asyncio.sleep(0)
    served = 0
    while not ending.done() or not served:
        assert await answer(backend, "live") > 0
        served += 1
    (ended,) = await asyncio.gather(ending, return_exceptions=True)
    assert isinstance(ended, Reply | BackendError)
    return ended


async def two_again(backend: Local) -> None:
    """Both workers serve."""
    await workers(backend, 2)
    await until(lambda: len(pids()) == 2)


def resident_mib(pid: int) -> float:
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1]) / 1024
