"""What is there in any case: a machine with some workers, or an endpoint that runs what comes."""

from __future__ import annotations

import asyncio
from collections import deque


class Machine:
    """Runs so many calls at once, and lets the others wait in their order; ``None``: any number."""

    def __init__(self, slots: int | None) -> None:
        self.slots = slots
        self.busy = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    @property
    def waiting(self) -> int:
        """Calls that have been sent and do not run."""
        return sum(not one.done() for one in self._waiting)

    async def take(self) -> None:
        """Until the call runs. Cancelled, it does not."""
        if self.slots is None or self.busy < self.slots:
            self.busy += 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.give_back()
            raise

    def give_back(self) -> None:
        """A call has ended."""
        self.busy -= 1
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                self.busy += 1
                turn.set_result(None)
                return
