"""Waiting for whoever writes to a store's file."""

from __future__ import annotations

import asyncio
import threading

from gateway.storage.base import StorageBusy
from gateway.storage.outage.writers import Writers


async def test_all_who_wait_for_a_writer_do_so_in_one_thread() -> None:
    """Else whoever sends unknown keys while somebody writes takes all threads."""
    ends, waits = threading.Event(), []

    def wait() -> None:
        waits.append(1)
        ends.wait()

    def ask() -> str:
        if not ends.is_set():
            raise StorageBusy("another writes", wait)
        return "found"

    writers = Writers()
    asked = [asyncio.create_task(writers.after(ask)) for _ in range(100)]
    await asyncio.sleep(0)
    asked[0].cancel()
    await asyncio.to_thread(lambda: None)  # there is a thread left
    ends.set()
    assert await asyncio.gather(*asked[1:]) == 99 * ["found"]
    assert len(waits) == 1
