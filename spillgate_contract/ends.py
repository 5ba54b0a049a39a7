"""The part of the contract that is about ends: cancelled, left, closed, and nothing left behind."""

from __future__ import annotations

import asyncio
import time

import pytest

from adapters.base import Cancellable
from adapters.errors import BackendError
from adapters.types import Reply
from spillgate_contract.playing import (
    OPEN_FILES,
    OnStage,
    begin,
    is_idle,
    sockets_open,
    started,
)
from spillgate_contract.stage import Stage, call_for, until


class Ends(OnStage):
    """Calls that are broken off, and backends that are closed."""

    async def test_a_cancelled_call_stops_at_the_other_end(self, stage: Stage) -> None:
        async with started(stage) as backend:
            call = call_for(stage.scenarios["slow"])
            task = asyncio.ensure_future(backend.invoke(call))
            await until(lambda: stage.running() == 1)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            if isinstance(backend, Cancellable):
                await backend.cancel(call.id)
            await until(lambda: stage.running() == 0)
            assert is_idle(backend)
            assert (await backend.invoke(call_for(stage.scenarios["echo"]))).body

    async def test_cancelling_a_call_that_nobody_knows_is_nothing(self, stage: Stage) -> None:
        async with started(stage) as backend:
            if not isinstance(backend, Cancellable):
                pytest.skip("a call of this kind ends with its connection")
            assert await backend.cancel("nobody") is None

    async def test_a_stream_that_is_left_holds_nothing(self, streamed: str, stage: Stage) -> None:
        scenario = stage.scenarios[streamed]
        async with started(stage, scenario.endpoint) as backend:
            call = call_for(scenario)
            reply = await backend.invoke(call)
            assert reply.chunks is not None
            await anext(reply.chunks)
            await reply.chunks.aclose()  # type: ignore[attr-defined]
            if isinstance(backend, Cancellable):
                await backend.cancel(call.id)
            await until(lambda: is_idle(backend))
            await until(lambda: stage.running(scenario.endpoint) == 0)

    async def test_closing_twice_is_closing_once_and_then_calls_fail(self, stage: Stage) -> None:
        backend = stage.backend()
        await begin(backend)
        await backend.invoke(call_for(stage.scenarios["echo"]))
        await backend.aclose()
        await backend.aclose()
        with pytest.raises(BackendError):
            await backend.invoke(call_for(stage.scenarios["echo"]))

    async def test_closing_ends_the_calls_in_flight(self, stage: Stage) -> None:
        """What still runs at a platform is ended there by the limits of the call's deadline."""
        backend = stage.backend()
        await begin(backend)
        call = call_for(stage.scenarios["slow"], deadline=time.monotonic() + 4.0)
        task = asyncio.ensure_future(backend.invoke(call))
        await until(lambda: stage.running() == 1)
        await backend.aclose()
        with pytest.raises(BackendError):
            await task
        await until(lambda: stage.running() == 0)

    @pytest.mark.skipif(not OPEN_FILES.exists(), reason="the system does not list open files")
    async def test_a_backend_that_was_closed_holds_no_socket(self, stage: Stage) -> None:
        stage.running()  # what the stage itself keeps open is open by now
        before = sockets_open()
        async with started(stage) as backend:
            calls = [call_for(stage.scenarios["echo"]) for _ in range(4)]
            asked = (backend.invoke(call) for call in calls)
            for answer in await asyncio.gather(*asked, return_exceptions=True):
                # A stage of few slots may have no room for all of them: their sockets were open.
                if not isinstance(answer, Reply | BackendError):
                    raise answer
        await until(lambda: sockets_open() <= before)
