"""Answers of jobs, and failures, that the store does not know yet, of one gateway.

The machine is the next job's as soon as it has answered, and not when the store has: there it may
take longer than the job. What it used is known then, and learned from. So that a store which fails
is not waited for in memory, this holds for so many answers, and bytes of them; after these a job
keeps its slot until its answer is kept.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import AbstractContextManager

from adapters.errors import BackendError
from adapters.types import Reply
from gateway.calls.attempt import Attempt
from gateway.calls.state import CallState
from gateway.clock import Clock


class UnkeptAnswers:
    """``most`` of them, and ``most_bytes`` in all, may wait for the store without their slots."""

    def __init__(self, most: int = 64, most_bytes: int = 16 * 2**20) -> None:
        self._most = most
        self._most_bytes = most_bytes
        self._answers = 0
        self._bytes = 0

    @contextlib.contextmanager
    def waiting(
        self, state: CallState | None, attempt: Attempt, came: Reply | Exception
    ) -> Iterator[None]:
        """While what came of an attempt waits. One that counts in limits which its backend has
        itself does so until it is settled: the next one could not begin."""
        counts_there = state is not None and state.at_backend is not None
        size = len(came.body) if isinstance(came, Reply) else 0
        self._answers += 1
        self._bytes += size
        try:
            attempt.backend.answered(
                attempt.lease,
                attempt.call,
                came.usage if isinstance(came, Reply) else came,
                keeps_place=counts_there or not self.room_for(self._answers, self._bytes),
                user="" if state is None else state.principal.user,
            )
            yield
        finally:
            self._answers -= 1
            self._bytes -= size

    def failed(
        self, state: CallState | None, attempt: Attempt, clock: Clock, error: Exception
    ) -> AbstractContextManager[None]:
        """While a failure that comes just now waits."""
        if isinstance(error, BackendError):
            error = attempt.failed(error, clock.monotonic())
        return self.waiting(state, attempt, error)

    def room_for(self, answers: int, size: int) -> bool:
        """Whether so many, and bytes of them, may wait without their slots."""
        return answers <= self._most and size <= self._most_bytes
