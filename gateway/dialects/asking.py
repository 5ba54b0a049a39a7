"""Asks a backend for a call, and gives its answer in the words of the call."""

from __future__ import annotations

from collections.abc import Awaitable

from adapters.base import Backend
from adapters.types import Call, Reply
from gateway.dialects.shown_names import shown_as


def ask(adapter: Backend, call: Call) -> Awaitable[Reply]:
    """What ``invoke`` gives, and raises."""
    return adapter.invoke(call) if not call.shown else _shown(adapter, call)


async def _shown(adapter: Backend, call: Call) -> Reply:
    return shown_as(await adapter.invoke(call), call.shown)
