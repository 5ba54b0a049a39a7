"""A platform that starts the workers it is told to keep."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from gateway.clock import settle
from tests.gateway.assembled import AssembledGateway

START_S = 5.0


class Platform:
    """Starts what it is told to keep, as long as a start takes, and says how many are up."""

    def __init__(self, gateway: AssembledGateway) -> None:
        self.gateway = gateway
        self.told: list[int] = []
        self._due: list[float] = []
        gateway.fake("burst").warm_workers = 0

    async def until(self, done: Callable[[], bool], within_s: float = 15.0) -> None:
        """Less than calls wait that are sent though no worker came for them."""
        for _ in range(round(within_s / 0.25)):
            if done():
                return
            await self.passes(0.25)
        assert done()

    async def passes(self, seconds: float) -> None:
        burst, clock = self.gateway.fake("burst"), self.gateway.clock
        for _ in range(round(seconds / 0.25)):
            wanted, up = burst.minimum or 0, burst.warm_workers or 0
            if not self.told or self.told[-1] != wanted:
                self.told.append(wanted)
            now = clock.monotonic()
            self._due += [now + START_S] * (wanted - up - len(self._due))
            del self._due[max(0, wanted - up) :]
            up = max(min(up, wanted), burst.running) + sum(due <= now for due in self._due)
            self._due = [due for due in self._due if due > now]
            burst.warm_workers = up
            await clock.advance(0.25)
            for _ in range(3):
                await asyncio.sleep(0.001)
            await settle()
