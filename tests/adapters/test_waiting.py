"""Waiting for what may take too long."""

from __future__ import annotations

import asyncio

import pytest

from adapters.waiting import before
from gateway.clock import FakeClock, settle


async def test_work_that_cannot_be_cancelled_does_not_keep_whoever_waits(clock: FakeClock) -> None:
    """A platform's own library may swallow it."""
    free = asyncio.Event()

    async def stubborn() -> None:
        while not free.is_set():
            try:
                await free.wait()
            except asyncio.CancelledError:
                continue

    waits = asyncio.ensure_future(before(clock, clock.monotonic() + 1.0, stubborn()))
    await settle()
    await clock.advance(1.0)
    with pytest.raises(TimeoutError):
        await waits
    free.set()
    await settle()
