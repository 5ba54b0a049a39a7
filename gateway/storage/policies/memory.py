"""Policies in memory: of a gateway that keeps nothing."""

from __future__ import annotations

from collections.abc import Callable

from gateway.storage.policies.base import NewChange, PolicyChange


class MemoryPolicies:
    """A ``PolicyStore`` that ends with its process; ``now``: seconds since the epoch."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._changes: list[PolicyChange] = []
        self._documents: dict[str, str] = {}

    async def add(self, change: NewChange, document: str, after: int) -> PolicyChange | None:
        if after != len(self._changes):
            return None
        added = PolicyChange(after + 1, self._now(), change)
        self._changes.append(added)
        self._documents.setdefault(change.version, document)
        return added

    async def newest(self, file: str | None = None) -> PolicyChange | None:
        found = (one for one in reversed(self._changes) if file in (None, one.what.file))
        return next(found, None)

    async def changes(self, before: int | None, most: int) -> list[PolicyChange]:
        of = self._changes if before is None else self._changes[: before - 1]
        return of[::-1][:most]

    async def document(self, version: str) -> str | None:
        return self._documents.get(version)
