"""What a server waits for its clients, and how long."""

from __future__ import annotations

import msgspec


class ClientLimits(msgspec.Struct, frozen=True, kw_only=True):
    """The bounds of one server's connections. Times are seconds; each is looked at every few
    seconds, so a wait may be that much longer."""

    first_head_s: float = 20.0
    """From connecting to the first byte of a request, and between requests of a client that has
    not shown who it is."""
    head_s: float = 20.0
    """From the first byte of a request's head to its end."""
    body_s: float = 30.0
    """A body may take so long, and one second more for each ``rate`` bytes of it."""
    write_s: float = 30.0
    """A client that has not taken ``rate`` bytes a second of what waits for it in so long, nor all
    of it, is given up."""
    rate: int = 1024
    """Bytes a second."""
    idle_s: float = 75.0
    """An unused connection of a client that has shown who it is: longer than the clients that
    keep one for a minute."""
    linger_s: float = 5.0
    """A client whose connection ends, and which may be sending still, has had its answer once it
    has sent nothing for so long, or has sent for ``body_s``, or ``linger_bytes``."""
    linger_bytes: int = 64 * 1024 * 1024
    strangers: int = 256
    """Connections of clients that have not shown who they are. Past it the one that waits longest
    is closed."""

    @property
    def look_every_s(self) -> float:
        """How late a bound may be noticed."""
        shortest = min(self.first_head_s, self.head_s, self.body_s, self.write_s, self.idle_s)
        return min(shortest / 4, 5.0)
