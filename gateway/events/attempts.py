"""One attempt to send a message: what is given to whoever makes it, and what comes of it."""

from __future__ import annotations

from typing import Protocol

import msgspec


class Receiver(msgspec.Struct, frozen=True, kw_only=True):
    """Where a message goes."""

    url: str
    timeout_s: float
    """The longest that the whole attempt may take."""
    allow_private: bool = False
    ca_file: str | None = None
    """PEM file of the authority that is believed; None: the system's."""
    owner: str = ""
    """Who has named it: what the names of one owner take holds up nobody else's."""


class ReceiverAnswer(msgspec.Struct, frozen=True):
    """What a receiver said."""

    status: int
    retry_after_s: float | None = None

    @property
    def taken(self) -> bool:
        return 200 <= self.status < 300


class NotReceived(Exception):
    """Nothing came back; the message is for the operator, and holds no URL."""


class MessageClient(Protocol):
    """Sends messages."""

    async def post(self, target: Receiver, headers: dict[str, str], body: str) -> ReceiverAnswer:
        """Raises NotReceived."""
        ...

    async def aclose(self) -> None: ...
