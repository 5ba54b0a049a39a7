"""What is said of work is written down while that has begun: no slot is idle for the store."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def meanwhile(saying: Coroutine[Any, Any, None], work: Awaitable[T]) -> T:
    """What ``work`` gives, or raises, once it is said too; whoever breaks it off waits for
    neither. Raises what ``saying`` does."""
    said = asyncio.ensure_future(saying)
    try:
        found = await work
    except asyncio.CancelledError:
        said.cancel()
        said.add_done_callback(_is_over)
        raise
    except Exception:
        await said
        raise
    await said
    return found


def _is_over(said: asyncio.Task[None]) -> None:
    if not said.cancelled():
        said.exception()  # nobody else asks for it
