"""The port of stored files: whose they are, how large, and until when. Their bytes lie elsewhere,
under the file's id.

A file is written down before its bytes are, and told of when they are whole; what is to go is
marked before its bytes go. So whoever dies leaves nothing that nobody would sweep away.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec

CONTENT_TYPE = "application/octet-stream"


class StoredFile(msgspec.Struct, frozen=True, kw_only=True):
    """One file."""

    id: str
    user: str
    key_id: str
    name: str
    """As its owner calls it."""
    purpose: str
    content_type: str = CONTENT_TYPE
    size: int
    """Bytes."""
    created_at: float
    """Seconds since the epoch, as all instants here."""
    expires_at: float


class FilesQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which files are listed: newest first, unless ``oldest_first``."""

    user: str | None = None
    purpose: str | None = None
    after: str | None = None
    """The id of the last file of the page before."""
    most: int = 100
    oldest_first: bool = False


class FileRecords(Protocol):
    """Files of several gateways. Each method is one transaction, by the store's clock, and raises
    StorageUnavailable."""

    async def begin(self, file: StoredFile, most: int, within_s: float) -> bool:
        """Writes down a file whose bytes come; it is swept away where it is not ``keep``-ed within
        so many seconds. False, and nothing is written, where its user's files would have more than
        ``most`` bytes together; of a file without a size yet that is asked at its end."""
        ...

    async def keep(self, file: StoredFile, most: int) -> bool:
        """Its bytes are there: now it can be found, as it is given. False where there is no room
        for it, or it was swept away."""
        ...

    async def give_up(self, id: str) -> None:
        """It does not come after all."""
        ...

    async def stay(self, id: str, until: float) -> bool:
        """It stays until an instant at least; False where it is not there."""
        ...

    async def get(self, id: str) -> StoredFile | None:
        """None where there is none, or its time is over."""
        ...

    async def find(self, query: FilesQuery) -> list[StoredFile]: ...

    async def drop(self, id: str) -> bool:
        """It can be found no more, and will be swept away; False where there is none."""
        ...

    async def over(self, most: int) -> list[str]:
        """Files whose bytes are to go: their time is over, or they were dropped."""
        ...

    async def forget(self, ids: Sequence[str]) -> None:
        """Their bytes are gone."""
        ...

    async def put_off(self, ids: Sequence[str], by_s: float) -> None:
        """Their bytes could not go: they are found by nobody, and are to go later."""
        ...

    async def link(self, token: str, id: str, good_for_s: float) -> None:
        """Whoever has the token may read the file for a while. ``token``: its digest."""
        ...

    async def linked(self, token: str) -> StoredFile | None:
        """The file that a token leads to."""
        ...

    async def aclose(self) -> None: ...
