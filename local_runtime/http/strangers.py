"""Connections whose clients have not shown who they are: so many idle ones lock nobody out."""

from __future__ import annotations

import math
from typing import Protocol

IDENTIFY = "identify"
"""A key of the scope of a request from a client that has not shown who it is: to be called with
nothing once it has, by an app whose clients do."""


class Stranger(Protocol):
    """What is asked of such a connection."""

    def owes_nothing(self) -> bool:
        """No answer is under way on it, nor waits to be taken."""
        ...

    def is_untaken(self) -> bool:
        """Something waits for its client to take it."""
        ...

    def idle_since(self) -> float:
        """By the loop's clock."""
        ...

    def close_idle(self) -> None:
        """Ends it at once."""
        ...

    def give_up(self) -> None:
        """Ends it at once, whatever its client has not taken."""
        ...


class Strangers:
    """Those of one server, in the order in which they came; at most ``most``."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._waiting: dict[Stranger, None] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, connection: Stranger) -> None:
        """A new one; past the bound the oldest idle one has to go, else the oldest that does not
        take what it asked for."""
        if len(self._waiting) >= self._most:
            if (oldest := self._first_idle()) is not None:
                self.discard(oldest)
                oldest.close_idle()
            elif (oldest := self._first_untaken()) is not None:
                self.discard(oldest)
                oldest.give_up()
        self._waiting[connection] = None

    def discard(self, connection: Stranger) -> None:
        """It is gone, or known."""
        self._waiting.pop(connection, None)

    def close_oldest(self, idle_since: float = math.inf) -> bool:
        """Closes the idle one that came first; False where none is idle, or that one only
        after ``idle_since``."""
        oldest = self._first_idle()
        if oldest is None or oldest.idle_since() > idle_since:
            return False
        self.discard(oldest)
        oldest.close_idle()
        return True

    def _first_idle(self) -> Stranger | None:
        return next((each for each in self._waiting if each.owes_nothing()), None)

    def _first_untaken(self) -> Stranger | None:
        return next((each for each in self._waiting if each.is_untaken()), None)
