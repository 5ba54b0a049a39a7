"""The two attempts of one call: its state has one of them at a time, and is turned to the other
for as long as that is recorded or closed, in which nobody else runs."""

from __future__ import annotations

import asyncio
from typing import NamedTuple

from adapters.errors import BackendError
from adapters.types import Reply
from gateway.backends.live import LiveBackend
from gateway.calls.attempt import Attempt
from gateway.calls.state import CallState
from gateway.calls.stream import SettledStream
from gateway.money.tariffs import PriceInForce
from gateway.routing.codes import ReasonCode
from gateway.storage.base import Hold

Brought = Reply | SettledStream
"""Whole and not settled, or a stream that has begun."""


class Side(NamedTuple):
    """What a call's state says of one attempt."""

    attempt: Attempt | None
    backend: LiveBackend | None
    in_force: PriceInForce | None
    at_backend: Hold | None
    is_bounded: bool
    reason: ReasonCode


def side_of(state: CallState) -> Side:
    """As it stands."""
    return Side(
        state.attempt,
        state.backend,
        state.in_force,
        state.at_backend,
        state.is_bounded,
        state.reason,
    )


def turn_to(state: CallState, side: Side) -> None:
    """From here on the state is of this attempt."""
    state.attempt, state.backend, state.in_force = side.attempt, side.backend, side.in_force
    state.at_backend, state.is_bounded, state.reason = side.at_backend, side.is_bounded, side.reason


class Racer:
    """One attempt, which a task of its own waits for."""

    def __init__(
        self, attempt: Attempt, side: Side, task: asyncio.Task[Brought], *, second: bool
    ) -> None:
        self.attempt = attempt
        self.side = side
        """While the state is turned to the other."""
        self.task = task
        self.is_second = second

    @property
    def at_backend(self) -> Hold | None:
        """Held in the limits of its backend, while the state is turned to the other."""
        return self.side.at_backend

    @at_backend.setter
    def at_backend(self, hold: Hold | None) -> None:
        self.side = self.side._replace(at_backend=hold)


def failure_of(racer: Racer) -> BackendError | None:
    """Of what it has failed, if it has."""
    task = racer.task
    failure = task.exception() if task.done() and not task.cancelled() else None
    return failure if isinstance(failure, BackendError) else None


def answer_of(racer: Racer) -> Reply | None:
    """A whole answer that came in the moment in which another one had won."""
    task = racer.task
    if not task.done() or task.cancelled() or task.exception() is not None:
        return None
    brought = task.result()
    return brought if isinstance(brought, Reply) else None


async def dropped(racer: Racer) -> None:
    """Waits for its end, and lets go of what it brought."""
    task = racer.task
    await asyncio.wait([task])
    if not task.cancelled() and task.exception() is None:
        brought = task.result()
        if isinstance(brought, SettledStream):
            await brought.drop()
