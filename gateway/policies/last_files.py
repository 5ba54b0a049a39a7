"""What a gateway's own files said when they came into force last, kept over restarts: what had been
applied over other files was overruled then, and stays so when the files say again what they said
before."""

from __future__ import annotations

from typing import Protocol

import msgspec


class FilesTaken(msgspec.Struct, frozen=True):
    """The files came into force."""

    version: str
    """Of what they say."""
    seen: int
    """The newest change of policies that the gateway had looked at by then: what was applied over
    any other files up to it is overruled by these."""


class LastFiles(Protocol):
    """Of one gateway, whoever shares its ledger."""

    def read(self) -> FilesTaken | None:
        """None where nothing is known."""
        ...

    def write(self, taken: FilesTaken) -> None:
        """In the place of the last. Raises OSError."""
        ...


class MemoryLastFiles:
    """Forgets with its process."""

    def __init__(self) -> None:
        self._taken: FilesTaken | None = None

    def read(self) -> FilesTaken | None:
        """The last."""
        return self._taken

    def write(self, taken: FilesTaken) -> None:
        """In the place of the last."""
        self._taken = taken
