"""The port of kept streams: what came of a stream that has a name, as it comes, so that whoever
sends the same request again is given the same from its start.

One gateway writes a stream, on a lease by the store's clock, which every write renews. A stream
whose lease is over before its end is cut for ever: nobody may add to it any more.
"""

from __future__ import annotations

from typing import Literal, Protocol

import msgspec

StreamState = Literal["running", "ended", "broken", "cut", "large"]
"""``ended``: all of it is here. ``broken``: the same, with a failure at its end. ``cut``: its
gateway has died, or was stopped. ``large``: it is too long to be kept, and may run still."""


class StreamsFull(Exception):
    """Raised where a user's streams take as many bytes as may be kept."""


class NewStream(msgspec.Struct, frozen=True, kw_only=True):
    """A stream that is about to be asked for."""

    id: str
    """Of its call."""
    name: str
    """Among all callers'; no job has it either."""
    digest: str
    """Of what is asked: the same name for something else is a conflict."""
    user: str
    keep_s: float
    lease_s: float
    older: tuple[str, ...] = ()
    """Digests that the same request was once kept under."""
    most_bytes: int
    """It is taken while the kept streams of its user have fewer."""


class NamedRequest(msgspec.Struct, frozen=True):
    """The stream or the job that has a name."""

    id: str
    digest: str
    is_stream: bool


class KeptPart(msgspec.Struct, frozen=True):
    """Of a stream, from some byte on."""

    state: StreamState
    head: str
    """JSON; empty before there is one."""
    data: bytes
    """All there is where ``state`` is not ``running`` and this is empty."""


class StreamStore(Protocol):
    """Kept streams of several gateways. Each method is one transaction, by the store's clock, and
    raises StorageUnavailable: nothing was done then, or nobody knows."""

    async def claim(self, new: NewStream) -> NamedRequest:
        """Takes the name, or says who has it. Raises StreamsFull."""
        ...

    async def keep(self, id: str, at: int, data: bytes, head: str, lease_s: float) -> bool:
        """Adds ``data``, which begins at the byte ``at``; False where the lease is over. The same
        may be said again."""
        ...

    async def end(self, id: str, at: int, data: bytes, head: str, state: StreamState) -> bool:
        """Adds the last of it. ``large``: drops what was kept."""
        ...

    async def forget(self, id: str) -> None:
        """Gives the name back: nothing was asked of anybody."""
        ...

    async def read(self, id: str, at: int) -> KeptPart | None:
        """What there is from the byte ``at`` on, up to some 64 KiB; None where it is forgotten."""
        ...

    async def prune(self, most: int) -> int:
        """Drops streams whose time is over; how many."""
        ...

    async def aclose(self) -> None: ...
