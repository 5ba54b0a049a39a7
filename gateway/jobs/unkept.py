"""Answers of jobs that the store has not kept yet, of one gateway.

A slot is the next job's as soon as its backend has answered, and not when the store has: there it
may take longer than the job. So that a store which fails is not waited for in memory, this holds
for so many answers, and bytes of them; after these a job keeps its slot until its answer is kept.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from adapters.types import Reply
from gateway.calls.attempt import Attempt


class UnkeptAnswers:
    """``most`` of them, and ``most_bytes`` in all, may wait for the store without their slots."""

    def __init__(self, most: int = 64, most_bytes: int = 16 * 2**20) -> None:
        self._most = most
        self._most_bytes = most_bytes
        self._answers = 0
        self._bytes = 0

    @contextlib.contextmanager
    def waiting(self, attempt: Attempt, reply: Reply, *, counts_there: bool) -> Iterator[None]:
        """While an answer waits. ``counts_there``: in limits that its backend has itself, until it
        is settled, so that the next one could not begin."""
        size = len(reply.body)
        self._answers += 1
        self._bytes += size
        try:
            if self.room_for(self._answers, self._bytes) and not counts_there:
                attempt.backend.hand_over(attempt.lease)
            yield
        finally:
            self._answers -= 1
            self._bytes -= size

    def room_for(self, answers: int, size: int) -> bool:
        """Whether so many, and bytes of them, may wait without their slots."""
        return answers <= self._most and size <= self._most_bytes
