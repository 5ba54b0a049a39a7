"""Where the server is that takes our commands: always the same, or whichever it is now."""

from __future__ import annotations

from typing import Protocol

from gateway.store_urls import Address


class Primary(Protocol):
    """Asked each time that a connection is made."""

    async def find(self) -> Address:
        """Its address now. Raises OSError or StorageUnavailable where nobody can say."""
        ...


class FixedPrimary:
    """The one server of a URL."""

    def __init__(self, address: Address) -> None:
        self._address = address

    def __repr__(self) -> str:
        return repr(self._address)

    async def find(self) -> Address:
        return self._address
