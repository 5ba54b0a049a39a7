"""The port of files' bytes, wherever they lie."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Protocol

PIECE = 256 * 1024
"""Bytes that are read or written at once: the most of a file that is ever in memory."""


class Writing(Protocol):
    """One file that is being written."""

    async def write(self, piece: bytes) -> None:
        """Raises StorageUnavailable."""
        ...


class Contents(Protocol):
    """Bytes by the id of their file. Every method raises StorageUnavailable."""

    def writing(self, id: str) -> AbstractAsyncContextManager[Writing]:
        """Whole at the end of the block, or not there at all where that raises."""
        ...

    def read(self, id: str, start: int = 0) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """From the byte ``start`` to its last, in pieces of at most ``PIECE`` bytes. Raises
        LookupError where there is no such file."""
        ...

    async def drop(self, id: str) -> None:
        """They are gone, if they were there."""
        ...

    def link(self, id: str, good_for_s: float) -> str | None:
        """A URL at which anybody may read it for a while; None: only the gateway can give it."""
        ...

    async def aclose(self) -> None: ...
