"""Waiting for whoever writes to a store's file."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from gateway.storage.base import StorageBusy

Asked = TypeVar("Asked")
_WRITERS = 20


async def after_writer(ask: Callable[[], Asked]) -> Asked:
    """What ``ask`` returns once nobody writes: what was just written may be what is asked for.
    Raises StorageUnavailable where a writer takes too long, or one comes after the other."""
    for _ in range(_WRITERS):
        try:
            return ask()
        except StorageBusy as busy:
            await asyncio.to_thread(busy.wait)
    return ask()
