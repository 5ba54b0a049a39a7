"""When a micro-batch leaves, and who is in it. Pure: time is passed in and nothing waits here."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable
from typing import Generic, TypeVar

T = TypeVar("T")


class Batcher(Generic[T]):
    """Collects items until they are ``max_size``, or the oldest has waited ``max_wait_s``, or
    the device came free while they waited: whoever sat through a running batch has waited
    enough. Each item leaves once.

    Items of one ``bucket`` leave together, in the order of arrival, and never with others. Of the
    buckets that may leave, the one whose first item is the oldest goes first, so none starves.
    """

    __slots__ = ("_buckets", "_freed", "_max_size", "_max_wait_s")

    def __init__(self, max_size: int, max_wait_s: float) -> None:
        self._max_size = max_size
        self._max_wait_s = max_wait_s
        self._buckets: dict[Hashable, deque[tuple[float, T]]] = {}
        self._freed = float("-inf")

    def add(self, item: T, now: float, bucket: Hashable = None) -> None:
        """``bucket``: any key; a bucket lives for as long as something waits in it."""
        waiting = self._buckets.get(bucket)
        if waiting is None:
            waiting = self._buckets[bucket] = deque()
        waiting.append((now, item))

    def freed(self, now: float) -> None:
        """The device is free again: what arrived up to ``now`` need not wait for others."""
        self._freed = now

    def due_at(self) -> float | None:
        """The instant from which the next batch may leave; None when nothing waits."""
        return min(map(self._due, self._buckets.values()), default=None)

    def take(self, now: float) -> list[T]:
        """The next batch if one may leave at ``now``, else an empty list."""
        due = [pair for pair in self._buckets.items() if self._due(pair[1]) <= now]
        if not due:
            return []
        bucket, waiting = min(due, key=lambda pair: pair[1][0][0])
        size = min(self._max_size, len(waiting))
        batch = [waiting.popleft()[1] for _ in range(size)]
        self._drop_if_empty(bucket)
        return batch

    def remove(self, item: T) -> bool:
        """Takes back an item that has not left; False when it is not here."""
        for bucket, queue in self._buckets.items():
            for position, (_, waiting) in enumerate(queue):
                if waiting is item:
                    del queue[position]
                    self._drop_if_empty(bucket)
                    return True
        return False

    def _due(self, waiting: deque[tuple[float, T]]) -> float:
        oldest = waiting[0][0]
        if oldest <= self._freed:
            return oldest
        latest = oldest + self._max_wait_s
        if len(waiting) >= self._max_size:
            return min(latest, waiting[self._max_size - 1][0])
        return latest

    def _drop_if_empty(self, bucket: Hashable) -> None:
        if not self._buckets[bucket]:
            del self._buckets[bucket]
