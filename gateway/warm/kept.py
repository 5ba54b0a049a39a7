"""How many workers each platform was told to keep, written down before it is told: what the gateway
set it also takes back, at the latest at its next start."""

from __future__ import annotations

import contextlib
import logging
import os
import tempfile
from pathlib import Path
from typing import Protocol

import msgspec

log = logging.getLogger("spillgate")

FILE = "kept-workers.json"
"""In the data folder."""

_decode = msgspec.json.Decoder(dict[str, int]).decode


class KeptWorkers(Protocol):
    """Backend -> the least workers that its platform was told to keep; those of which it was told
    to keep none are left out."""

    def read(self) -> dict[str, int]:
        """All of them; empty where nothing can be read."""
        ...

    def write(self, kept: dict[str, int]) -> None:
        """Durable when it returns. Raises OSError."""
        ...


class MemoryKept:
    """Forgets with its process."""

    def __init__(self) -> None:
        self._kept: dict[str, int] = {}

    def read(self) -> dict[str, int]:
        """All of them."""
        return dict(self._kept)

    def write(self, kept: dict[str, int]) -> None:
        """In the place of those before."""
        self._kept = dict(kept)


class FileKept:
    """In a file of its own, replaced whole."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> dict[str, int]:
        """All of them; empty where there is no file, or none that can be read."""
        try:
            kept = _decode(self._path.read_bytes())
        except FileNotFoundError:
            return {}
        except (OSError, msgspec.DecodeError) as error:
            log.error(
                "%s cannot be read: %s; look for workers left at platforms", self._path, error
            )
            return {}
        return {name: workers for name, workers in kept.items() if workers > 0}

    def write(self, kept: dict[str, int]) -> None:
        """In the place of those before. Raises OSError."""
        write_whole(self._path, msgspec.json.encode(kept))


def write_whole(path: Path, data: bytes) -> None:
    """Puts the data in the place of what a file held: it is on the disk when this returns, and
    whoever reads it sees the one or the other, however many write at once. Raises OSError."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    beside = Path(name)
    try:
        with open(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            beside.unlink()
