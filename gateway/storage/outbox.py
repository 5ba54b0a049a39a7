"""What waits to be sent by webhook, in the ledger's own store: the port, and what passes it.

A message is in the store before anybody is told of it, and stays there until its endpoint has
taken it. Of every row that the ledger settles, the same transaction notes that it is to be told to
the endpoints that take usage; ``gather`` makes messages of such notes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import msgspec

from gateway.storage.base import LedgerRow


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """One body for one endpoint. ``id`` is the ``webhook-id``: the same at every attempt, and one
    alone for each endpoint."""

    id: str
    endpoint: str
    """A name in the policy."""
    topic: str
    """The body's ``type``."""
    body: str
    url: str = ""
    """Where it goes; empty: to the endpoint's own URL."""
    made_at: float = 0.0
    """Seconds since the epoch, by the store's clock, as all instants here."""
    attempts: int = 0
    """The one included for which it was taken."""


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt to send a message."""

    id: str
    endpoint: str
    topic: str
    attempt: int
    at: float = 0.0
    took_s: float
    status: int = 0
    """What the receiver answered; 0: nothing."""
    error: str = ""
    """Why it is to be sent again; empty: it was taken."""


class Attempted(msgspec.Struct, frozen=True, kw_only=True):
    """What came of an attempt, to be marked in the store."""

    delivery: Delivery
    again_s: float | None = None
    """When it is sent again, in seconds from now; None: it was taken."""
    keep: bool = True
    """Whether a message that was taken stays for a while, to be sent again on request."""


class EndpointState(msgspec.Struct, frozen=True, kw_only=True):
    """How an endpoint stands."""

    name: str
    usage: bool
    """Whether rows are noted for it."""
    waiting: int
    """Messages that it has not taken, and rows of which there is no message yet."""
    oldest_s: float
    """The age of the oldest of them; 0 where there is none."""
    failing_s: float | None = None
    """How long it has taken nothing, while it was asked to."""
    disabled_at: float | None = None
    due: bool = False
    """Whether there is something to do for it now."""


class ToldOnce(msgspec.Struct, frozen=True, kw_only=True):
    """What is told once: that a limit was reached, by so much of it, in one window; or that a key
    ends."""

    scope: str
    unit: str
    """Of a limit its unit; ``key``: the end of a key."""
    window: str
    ends_at: int
    """Of the window, or of the key; integer microseconds since the epoch."""
    limit: int
    """0 of a key."""
    step: str
    """``80``: percent of the limit were spent; ``refused``: it refused somebody. Of a key: seconds
    before its end."""


Make = Callable[[Sequence[LedgerRow]], Message]
"""Rows that one message tells of -> the message."""


class Outbox(Protocol):
    """Messages, endpoints and what was told. Several gateways may share one; each method is one
    transaction, by the store's clock, but for those that note what is past, which are several. All
    raise StorageUnavailable."""

    async def subscribe(self, endpoints: Mapping[str, bool]) -> None:
        """The policy's endpoints -> whether each takes usage. From now on rows are noted for
        these, and for no others."""
        ...

    async def put(self, messages: Sequence[Message]) -> None:
        """Adds messages, each due at once; one whose id the endpoint has already changes
        nothing."""
        ...

    async def gather(self, endpoint: str, most: int, batch: int, make: Make) -> int:
        """Makes messages of the oldest rows that are noted for an endpoint, at most ``most``, in
        groups of up to ``batch``; a group stays together for ever. Returns how many rows are noted
        no more. A row that is not in the ledger any more is left out."""
        ...

    async def take(self, endpoint: str, most: int, lease_s: float) -> list[Message]:
        """Those that are due, oldest first. Nobody else is given them for ``lease_s``; then they
        are due again, unless what came of them was marked."""
        ...

    async def mark(self, attempted: Sequence[Attempted]) -> None:
        """What came of messages that were taken."""
        ...

    async def tell(self, fact: ToldOnce, messages: Sequence[Message]) -> bool:
        """Adds messages that tell of a fact, with the fact; False, and nothing is added, where it
        was told before."""
        ...

    async def states(self) -> list[EndpointState]:
        """Of every endpoint that was ever subscribed, by name."""
        ...

    async def due(self) -> set[str]:
        """Endpoints for which there is something to do now; those that are disabled are not."""
        ...

    async def disable(self, endpoint: str) -> bool:
        """Nothing is sent to it, or noted for it, until it is enabled; False: it was so before."""
        ...

    async def enable(self, endpoint: str) -> bool:
        """All that waits is due at once, and the rows of the time in which it was disabled are
        noted; False where there is no such endpoint."""
        ...

    async def disabled_at(self, endpoint: str) -> float | None:
        """Since when it is disabled; None where it is not, or there is none."""
        ...

    async def redeliver(self, endpoint: str, id: str) -> bool:
        """Makes a message due again, whether or not it was taken; False where it is not kept."""
        ...

    async def usage_again(self, endpoint: str, since: float, until: float) -> int:
        """Notes the rows that began in a time once more; how many they are."""
        ...

    async def deliveries(self, endpoint: str, most: int, id: str = "") -> list[Delivery]:
        """The last attempts, newest first; with an ``id`` those of one message."""
        ...

    async def prune(self, keep_s: float, most_deliveries: int) -> dict[str, int]:
        """Drops what is older than ``keep_s``, and all but the last attempts at each endpoint.
        Returns how many messages and rows were dropped that no endpoint had taken, by endpoint."""
        ...

    async def aclose(self) -> None:
        """Closes the connection."""
        ...
