"""Writes that come while others are under way share the next transaction: a server flushes its log
once for all of them, and one gateway's writes never wait for each other's locks."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from gateway.storage.outbox_statements import Statement
from gateway.storage.sql_outbox import Rows

MOST = 32
"""Batches of one transaction: none waits for long for the others."""

Batch = Sequence[Statement]
Outcome = list[Rows] | Exception


class _Waiting(NamedTuple):
    batch: Batch
    answer: asyncio.Future[list[Rows]]


class GroupCommit:
    """``run`` runs several batches, and says what came of each."""

    def __init__(self, run: Callable[[list[Batch]], Awaitable[list[Outcome]]]) -> None:
        self._run = run
        self._waiting: deque[_Waiting] = deque()
        self._turns: asyncio.Task[None] | None = None

    async def write(self, batch: Batch) -> list[Rows]:
        """What the batch gives, once it is kept. Raises what ``run`` had for it. Whoever waits no
        longer has it written all the same, before what comes later."""
        answer: asyncio.Future[list[Rows]] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(batch, answer))
        if self._turns is None:
            self._turns = asyncio.create_task(self._take_turns())
        return await answer

    async def _take_turns(self) -> None:
        group: list[_Waiting] = []
        try:
            while self._waiting:
                group = [self._waiting.popleft() for _ in range(min(MOST, len(self._waiting)))]
                outcomes = await self._run([one.batch for one in group])
                for one, outcome in zip(group, outcomes, strict=True):
                    _tell(one.answer, outcome)
        finally:
            self._turns = None
            for one in (*group, *self._waiting):  # none is left, unless this was broken off
                one.answer.cancel()
            self._waiting.clear()

    async def aclose(self) -> None:
        """When all that came has been written, or has failed."""
        if self._turns is not None:
            await asyncio.wait((self._turns,))


def _tell(answer: asyncio.Future[list[Rows]], outcome: Outcome) -> None:
    if answer.done():
        return
    if isinstance(outcome, Exception):
        answer.set_exception(outcome)
    else:
        answer.set_result(outcome)
