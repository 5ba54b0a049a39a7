"""The port of kept responses: what was answered, and the conversation up to there."""

from __future__ import annotations

from typing import Protocol

import msgspec


class KeptResponse(msgspec.Struct, frozen=True, kw_only=True):
    """One that its owner may go on from, or have told again."""

    id: str
    owner: str
    """A key's id, or a client token's: nobody else finds it."""
    answer: str
    """The response, as JSON."""
    items: str
    """All input items up to it, and its output, as a JSON list."""

    @property
    def size(self) -> int:
        """Bytes that it counts for; a short one counts for a page of a database."""
        return max(4096, len(self.answer.encode()) + len(self.items.encode()))


class ResponseStore(Protocol):
    """Kept responses of several gateways. Each method is one transaction, by the store's clock, and
    raises StorageUnavailable: nothing was done then, or nobody knows."""

    async def keep(self, response: KeptResponse, keep_s: float, most_bytes: int) -> None:
        """Of an owner whose responses are more than ``most_bytes`` then the oldest are dropped. The
        same may be said again."""
        ...

    async def find(self, owner: str, id: str) -> KeptResponse | None:
        """None where it is not the owner's, or its time is over."""
        ...

    async def delete(self, owner: str, id: str) -> bool:
        """False where there is none."""
        ...

    async def is_not_for(self, owner: str, id: str) -> bool:
        """Whether it was kept for another, or its owner has deleted it; as long as it would have
        been kept."""
        ...

    async def prune(self, most: int) -> int:
        """Drops those whose time is over; how many."""
        ...

    async def aclose(self) -> None: ...
