"""A gateway whose calls cost what a test says, for the tests of limits."""

from __future__ import annotations

import asyncio
from typing import Any

from adapters.types import Reply, Usage
from gateway.calls.stream import SettledStream
from gateway.preferences import Preferences
from gateway.storage.base import Claim
from gateway.types import ApiError, Principal, Unit
from tests.gateway.assembled import AssembledGateway

POLICY = """
version: 1
server: {tls: "off", access_log: false}
backends:
  a: {kind: fake, price: cent, slots: 2000, max_queue: 5000}
  b: {kind: fake, price: cent, slots: 2000, max_queue: 5000}
models:
  chat: {task: chat, backends: [a, b], max_output_tokens: 1000}
  other: {task: chat, backends: [b]}
prices:
  cent: {per_call: 0.01}
routes: [{name: default, use: [a, b], order: listed}]
"""
CENT = 10_000_000
DOLLAR = 10**9
DAVE = Principal(key_id="k6", user="dave")
"""Whom nothing limits but what is everybody's."""


def used(read: int = 0, written: int = 0) -> Reply:
    """A whole answer that says how many tokens it was."""
    return Reply(body=b"{}", usage=Usage(input_tokens=read, output_tokens=written, reported=True))


async def left(gateway: AssembledGateway, scope: str, unit: Unit, window: str, limit: int) -> int:
    [status] = await gateway.inner.shared.statuses([Claim(scope, unit, window, limit, 0)])
    return status.remaining


THOUSAND = Preferences(None, None, 1000)
"""Of a call whose answer may be a thousand tokens, by its own word."""


async def refused(gateway: AssembledGateway, model: str = "chat", **options: Any) -> ApiError:
    """What a call is told that a limit keeps away."""
    try:
        await serve(gateway, model, **options)
    except ApiError as error:
        return error
    raise AssertionError("the call was served")


async def serve(gateway: AssembledGateway, model: str = "chat", **options: Any) -> None:
    """A call that is served."""
    await gateway.ask(gateway.call_state(model, **{"preferences": THOUSAND, **options}))


async def past_caps(gateway: AssembledGateway) -> float:
    """US dollars that were spent past a cap."""
    [metric] = gateway.inner.metrics.past_caps.collect()
    return next(s.value for s in metric.samples if s.name.endswith("_total"))


async def read_all(answer: SettledStream) -> None:
    """A reader who gives others their turn after each piece."""
    async with answer:
        async for _ in answer:
            await asyncio.sleep(0)
