"""The file in which versions of once had what they rented: now that is in the ledger's store."""

from __future__ import annotations

from pathlib import Path

import msgspec

from gateway.reserve.rented import Rented

FILE = "rented.json"
"""In the data folder."""
_decode = msgspec.json.Decoder(list[Rented]).decode


class EarlierFile:
    """Read once, and gone when the store has what it says."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> list[Rented]:
        """All of them; none without a file. Raises OSError where what is written cannot be read:
        nobody may start any then, for nobody knows what runs."""
        try:
            return _decode(self._path.read_bytes())
        except FileNotFoundError:
            return []
        except msgspec.DecodeError as error:
            raise OSError(f"{self._path} cannot be read: {error}") from None

    def drop(self) -> None:
        """Raises OSError."""
        self._path.unlink(missing_ok=True)
