"""Background calls that outlive their caller, at this project's runtime and at scripted servers."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import msgspec
import pytest

from adapters.base import LongRunning
from adapters.errors import BackendError, FailureClass
from adapters.potassium.api import PotassiumSettings
from adapters.potassium.backend import PotassiumBackend
from adapters.types import Call, Handle
from gateway.clock import FakeClock, SystemClock
from tests.adapters.potassium.servers import PotassiumServer, runtime_server
from tests.adapters.potassium.test_backend import a_call, opened, server
from tests.adapters.scenarios import until
from tests.adapters.servers import CUT, STALL, answer, drive
from tests.live import free_port

HANDLE = Handle(job="j/1", call="c1", task="infer", submitted=0.0)


@pytest.fixture(scope="module")
def runtime() -> Iterator[PotassiumServer]:
    with runtime_server() as running:
        yield running


@contextlib.asynccontextmanager
async def background(runtime: PotassiumServer) -> AsyncIterator[PotassiumBackend]:
    settings = PotassiumSettings(
        base_url=runtime.url, routes={"infer": "/background"}, background=True
    )
    backend = PotassiumBackend("p", settings, SystemClock())
    await backend.start()
    try:
        yield backend
    finally:
        await backend.aclose()


def named(id: str, body: bytes) -> Call:
    return Call(id=id, model="m", task="infer", body=body)


async def done(backend: LongRunning, handle: Handle) -> bytes:
    """Bounded polling of a real process."""
    for _ in range(1000):
        reply = (await backend.poll(handle)).reply
        if reply is not None:
            return reply.body
        await asyncio.sleep(0.01)
    raise AssertionError("the job did not end in time")


# --- this project's runtime ---------------------------------------------------------------------


async def test_a_job_is_asked_about_by_a_later_process_with_the_same_settings(
    runtime: PotassiumServer,
) -> None:
    async with background(runtime) as first:
        assert isinstance(first, LongRunning)
        handle = await first.submit(named("later-1", b'{"echo": 7, "sleep": 0.3}'))
        assert (await first.poll(handle)).status == "running"
    read = msgspec.json.decode(msgspec.json.encode(handle), type=Handle)
    async with background(runtime) as later:
        assert await done(later, read) == b'{"done":7}'
        state = await later.poll(read)
    assert (read.job, state.status) == ("later-1", "done")
    assert state.reply is not None
    assert state.reply.usage.exec_s is not None
    assert state.reply.usage.exec_s > 0.2
    assert not state.reply.usage.reported


async def test_a_job_that_failed_and_one_that_was_stopped_raise_why(
    runtime: PotassiumServer,
) -> None:
    async with background(runtime) as backend:
        failed = await backend.submit(named("fails-1", b'{"fail": "boo"}'))
        with pytest.raises(BackendError) as caught:
            await done(backend, failed)
        assert caught.value.failure is FailureClass.FAILED
        stopped = await backend.submit(named("stops-1", b'{"sleep": 60}'))
        assert await backend.stop(stopped) is None
        with pytest.raises(BackendError) as caught:
            await done(backend, stopped)
        assert caught.value.failure is FailureClass.CANCELLED


async def test_a_job_that_is_stopped_while_it_runs_makes_room_for_the_next(
    runtime: PotassiumServer, tmp_path: Path
) -> None:
    """Its handler is told, though the words are Potassium's."""
    note = tmp_path / "begun"
    async with background(runtime) as backend:
        body = msgspec.json.encode({"begin": str(note), "sleep": 60})
        stopped = await backend.submit(named("stops-2", body))
        await until(note.exists)
        await backend.stop(stopped)
        following = await backend.submit(named("follows-1", b'{"echo": 3}'))
        assert await done(backend, following) == b'{"done":3}'


async def test_a_job_that_is_handed_over_twice_runs_once(runtime: PotassiumServer) -> None:
    async with background(runtime) as backend:
        handles = [await backend.submit(named("twice-1", b'{"echo": 1}')) for _ in range(2)]
        assert handles[0].job == handles[1].job
        assert await done(backend, handles[1]) == b'{"done":1}'


async def test_a_job_that_the_server_does_not_know_is_said_to_be_gone(
    runtime: PotassiumServer,
) -> None:
    async with background(runtime) as backend:
        with pytest.raises(BackendError) as caught:
            await backend.poll(HANDLE)
        assert caught.value.failure is FailureClass.TIMEOUT
        assert await backend.stop(HANDLE) is None


# --- what a server may answer -------------------------------------------------------------------


async def test_a_call_that_the_server_does_not_name_was_begun_and_is_no_job(
    clock: FakeClock,
) -> None:
    """Potassium's own answer."""
    async with server(clock, answer({"started": True}), background=True) as (backend, _):
        with pytest.raises(BackendError) as caught:
            await backend.submit(a_call())
    assert caught.value.failure is FailureClass.AMBIGUOUS


async def test_only_a_background_handlers_calls_are_jobs(clock: FakeClock) -> None:
    async with server(clock) as (backend, script):
        with pytest.raises(BackendError) as caught:
            await backend.submit(a_call())
        assert not script.requests
    assert caught.value.failure is FailureClass.UNSUPPORTED


async def test_a_server_that_is_not_up_took_nothing(clock: FakeClock) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    async with opened(clock, url, background=True) as backend:
        with pytest.raises(BackendError) as caught:
            await backend.submit(a_call())
    assert caught.value.failure is FailureClass.LOADING


@pytest.mark.parametrize(
    "trouble", [answer(b"oops", 500), answer(b"{", 200), CUT], ids=["500", "no JSON", "cut"]
)
async def test_a_question_that_failed_is_not_the_jobs_own_end(
    clock: FakeClock, trouble: bytes
) -> None:
    async with server(clock, trouble, background=True) as (backend, script):
        with pytest.raises(BackendError) as caught:
            await drive(clock, backend.poll(HANDLE))
        assert script.targets()[0] == "GET /_k/jobs/j%2F1"
    assert caught.value.failure in (FailureClass.AMBIGUOUS, FailureClass.UNREACHABLE)


async def test_a_submit_that_was_left_is_cancelled_by_the_calls_own_id(clock: FakeClock) -> None:
    async with server(clock, STALL, background=True) as (backend, script):
        task = asyncio.ensure_future(backend.submit(a_call()))
        await until(lambda: len(script.requests) == 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        script.prepend(answer({"status": "cancelled"}))
        await drive(clock, backend.cancel("c1"))
    assert script.targets()[-1] == "POST /_k/jobs/c1/cancel"
