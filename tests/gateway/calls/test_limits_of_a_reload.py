"""A call comes into the limits that are in force when it comes to a backend, or becomes one of a
larger model, and not into those of the policy that it was admitted by."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from adapters.errors import BackendError, FailureClass
from adapters.fake import After
from adapters.types import Reply, Usage
from gateway.calls.dispatcher import Answer
from gateway.calls.state import CallState
from gateway.clock import FakeClock
from gateway.storage.base import Claim
from gateway.types import ApiError
from tests.gateway.assembled import AssembledGateway, assembled, read

LIMIT = 5_000_000_000
POLICY = """
version: 1
server: {tls: "off", access_log: false}
backends:
  first: {kind: fake, price: cheap, expect: 1s}
  next: {kind: fake, price: cheap, expect: 1s}
  big: {kind: fake, price: cheap, expect: 1s}
models:
  chat: {task: chat, backends: [first, next], larger: long}
  long: {task: chat, backends: [big]}
prices:
  cheap: {per_call: 0.5, as_of: 2026-11-01, source: test}
routes:
  - {name: all, use: [first, next, big], order: listed}
plans:
  default: {concurrent: 100}
"""
WAYS = {
    "next": (FailureClass.OVERLOADED, "limits: {backends: {next: {spend: %s USD/month}}}\n"),
    "big": (FailureClass.CONTEXT_TOO_LONG, "limits: {models: {long: {spend: %s USD/month}}}\n"),
}
SCOPES = {"next": "backend:next", "big": "model:long"}
COST = 500_000_000
ANSWER = Reply(body=b"{}", usage=Usage(exec_s=1.0, reported=True))


def leads_on(gateway: AssembledGateway, to: str) -> None:
    """After five seconds at the first backend."""
    failure = BackendError(WAYS[to][0], "not here")
    gateway.fake("first").answers = lambda _: After(5.0, failure)
    gateway.fake("next").answers = lambda _: failure
    gateway.fake(to).answers = lambda _: After(5.0, ANSWER)


async def in_scope(gateway: AssembledGateway, to: str) -> tuple[int, int]:
    """What is held, and what is held or spent."""
    claim = Claim(SCOPES[to], "nano_usd", "month", LIMIT, 0)
    [status] = await gateway.inner.shared.statuses([claim])
    return status.held, LIMIT - status.remaining


async def on_its_way(
    gateway: AssembledGateway, to: str, usd: float
) -> tuple[CallState, asyncio.Task[Answer]]:
    """A call that is at the first backend and leads on from there, while a reload brings a limit of
    so many dollars to where it leads."""
    leads_on(gateway, to)
    state, task = gateway.start(body=b'{"model": "chat"}')
    await gateway.until_asked("first")
    await gateway.inner.apply(read(POLICY + WAYS[to][1] % usd))
    return state, task


@pytest.mark.parametrize("to", ["next", "big"])
async def test_what_a_reload_limits_is_held_and_spent_there(
    to: str, tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock, POLICY) as gateway:
        state, task = await on_its_way(gateway, to, 5)
        assert await in_scope(gateway, to) == (0, 0)
        await clock.advance(5.0)
        await gateway.until_asked(to)
        assert await in_scope(gateway, to) == (COST, COST)
        await gateway.until_done([task], step=0.25)
        assert state.cost_nano == COST
        assert await in_scope(gateway, to) == (0, COST)


@pytest.mark.parametrize("to", ["next", "big"])
async def test_a_limit_that_has_no_room_lets_no_call_pass_that_came_before_it(
    to: str, tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock, POLICY) as gateway:
        state, task = await on_its_way(gateway, to, 0.4)
        await gateway.until_done([task], step=0.25)
        assert isinstance(task.exception(), ApiError)
        assert not gateway.fake(to).calls
        assert await in_scope(gateway, to) == (0, 0)
        assert state.cost_nano == 0
