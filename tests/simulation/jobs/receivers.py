"""Who is told of the ends of jobs: a receiver that fails now and then, and remembers all."""

from __future__ import annotations

import random
from collections import defaultdict

from gateway.clock import Clock
from gateway.events.attempts import NotReceived, Receiver, ReceiverAnswer

URL = "https://receiver.example.com/ended"
_FAILS_AT_MOST = 2
"""Times that a message is not taken: more, and a day would be too short for it."""


class EndsReceiver:
    """``told`` has what came, by the message's id."""

    def __init__(self, draw: random.Random) -> None:
        self.told: defaultdict[str, list[str]] = defaultdict(list)
        self.taken: set[str] = set()
        self._draw = draw
        self._failed: defaultdict[str, int] = defaultdict(int)

    def takes(self, id: str, body: str) -> bool:
        """Whether it says that it has it."""
        self.told[id].append(body)
        if self._failed[id] < _FAILS_AT_MOST and self._draw.random() < 0.3:
            self._failed[id] += 1
            return False
        self.taken.add(id)
        return True

    @property
    def draw(self) -> random.Random:
        return self._draw


class ReceiverClient:
    """The way of one process to it, on which answers are lost."""

    def __init__(self, receiver: EndsReceiver, clock: Clock) -> None:
        self._receiver = receiver
        self._clock = clock

    async def post(self, target: Receiver, headers: dict[str, str], body: str) -> ReceiverAnswer:
        draw = self._receiver.draw
        await self._clock.sleep(draw.random() * 0.2)
        taken = self._receiver.takes(headers["webhook-id"], body)
        await self._clock.sleep(draw.random() * 0.2)
        if not taken:
            if draw.random() < 0.5:
                raise NotReceived("nothing came back")
            return ReceiverAnswer(500)
        return ReceiverAnswer(200)

    async def aclose(self) -> None:
        return None
