"""When a micro-batch leaves. Pure: time is passed in and nothing waits here."""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")


class Batcher(Generic[T]):
    """Collects items until they are ``max_size``, or the oldest has waited ``max_wait_s``, or
    the device came free while they waited: whoever sat through a running batch has waited
    enough. Each item leaves once, in the order of arrival.
    """

    __slots__ = ("_freed", "_items", "_max_size", "_max_wait_s")

    def __init__(self, max_size: int, max_wait_s: float) -> None:
        self._max_size = max_size
        self._max_wait_s = max_wait_s
        self._items: deque[tuple[float, T]] = deque()
        self._freed = float("-inf")

    def __len__(self) -> int:
        return len(self._items)

    def add(self, item: T, now: float) -> None:
        self._items.append((now, item))

    def freed(self, now: float) -> None:
        """The device is free again: what arrived up to ``now`` need not wait for company."""
        self._freed = now

    def due_at(self) -> float | None:
        """The instant from which the next batch may leave; None when nothing waits."""
        if not self._items:
            return None
        oldest = self._items[0][0]
        if oldest <= self._freed:
            return oldest
        latest = oldest + self._max_wait_s
        if len(self._items) >= self._max_size:
            return min(latest, self._items[self._max_size - 1][0])
        return latest

    def take(self, now: float) -> list[T]:
        """The next batch if it may leave at ``now``, else an empty list."""
        due = self.due_at()
        if due is None or due > now:
            return []
        size = min(self._max_size, len(self._items))
        return [self._items.popleft()[1] for _ in range(size)]

    def remove(self, item: T) -> bool:
        """Takes back an item that has not left; False when it is not here."""
        for position, (_, waiting) in enumerate(self._items):
            if waiting is item:
                del self._items[position]
                return True
        return False
