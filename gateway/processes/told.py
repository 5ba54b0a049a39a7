"""What a serving process is told when it is started, on its command line."""

from __future__ import annotations

import msgspec


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """Descriptors are those that it inherits."""

    number: int
    """Its own among all that the parent has ever started, from 1."""
    parent: int
    """The descriptor of its connection to the parent."""
    listeners: tuple[int, ...]
    """Descriptors of the listening sockets."""
    of: int
    """Processes that serve together."""
    counts: int
    """The descriptor of the memory in which connections are counted."""
    places: int
    """For so many processes."""
    place: int
    """Its own."""
    folders: dict[str, str] = {}
    """Backend -> the folder of the sockets of its workers, which the parent has started."""
    machine: str = ""
    """A name of all processes below one parent."""
    waits: bool = False
    """Others serve already: it takes no connection before its backends are ready."""

    def as_argument(self) -> str:
        """For the command line."""
        return msgspec.json.encode(self).decode()


def told(argument: str) -> Told:
    """The same again. Raises msgspec.DecodeError."""
    return msgspec.json.decode(argument, type=Told)
