"""A call that takes its time holds nothing of itself once it has ended."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from adapters.errors import BackendError, FailureClass
from adapters.fake import Outcome
from adapters.types import Chunk, Reply
from gateway.calls.state import CallState
from gateway.clock import FakeClock
from gateway.shared_timer import EVERY_S
from tests.gateway.assembled import assembled

CHAT = {"model": "chat", "messages": [{"role": "user", "content": "hi"}]}


@contextmanager
def without_the_collector() -> Iterator[list[object]]:
    """What nobody can reach any more in the end, but for cycles of its own."""
    left: list[object] = []
    gc.collect()
    gc.disable()
    try:
        yield left
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        left.extend(gc.garbage)
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()


ENDS: dict[str, tuple[Outcome, ...]] = {
    "whole": (Reply(body=b"{}"),),
    "stream": ([Chunk(b"data: {}\n\n"), Chunk(b"data: [DONE]\n\n", "done")],),
    "cut stream": ([Chunk(b"data: {}\n\n"), BackendError(FailureClass.TRUNCATED, "cut")],),
    "elsewhere": (BackendError(FailureClass.UNREACHABLE, "gone"),),
    "nowhere": (BackendError(FailureClass.INVALID, "no"),),
}


@pytest.mark.parametrize("end", ENDS)
async def test_a_call_that_was_listened_for_leaves_no_cycle(
    end: str, tmp_path: Path, clock: FakeClock
) -> None:
    """Its body would stay until the collector comes, thousands of calls later."""
    async with assembled(tmp_path, clock) as gateway, gateway.client() as client:
        home = gateway.fake("home")
        home.runs_for = 10 * EVERY_S
        home.tell(*ENDS[end])
        body = {**CHAT, "stream": "stream" in end}
        with without_the_collector() as left:
            asking = asyncio.create_task(client.post("/v1/chat/completions", json=body))
            while not asking.done():
                await clock.advance(EVERY_S)
            assert (await asking).status_code in (200, 400)
            assert len(home.calls) == 1
            del asking
        assert [each for each in left if isinstance(each, CallState)] == []
