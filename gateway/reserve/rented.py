"""Instances that were started: what each is, and the file that knows them after a death."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Literal, Protocol

import msgspec

from gateway.policy.sections.commitments import Commitment
from gateway.warm.kept import write_whole

log = logging.getLogger("spillgate")

FILE = "rented.json"
"""In the data folder."""
HOUR_S = 3600
FORGET_S = 401 * 86_400
"""Hours are looked at again for so long, and would be booked anew without what they cost."""


class Rented(msgspec.Struct, frozen=True, kw_only=True):
    """One instance. Instants are seconds since the epoch."""

    id: str
    reserve: str
    """Its name in the policy."""
    backend: str
    hourly_nano: int
    """Nano-dollars an hour, by the price that held when it was started."""
    began: int
    """From when on it is paid for."""
    state: Literal["starting", "up", "stopping", "ended"] = "starting"
    ended: int | None = None
    """Until when it is paid for; None: it is not known to be stopped."""
    stop: str
    """The hook that stops it."""
    timeout_s: float
    tries: int = 0
    """Of stopping it, in vain."""

    @property
    def runs(self) -> bool:
        """It serves, or soon will."""
        return self.state in ("starting", "up")

    def paid_until(self, now_at: float) -> int:
        """The end of the rented hour in which ``now_at`` lies."""
        hours = max(0, int(now_at) - self.began) // HOUR_S + 1
        return self.began + hours * HOUR_S

    @property
    def commitment(self) -> Commitment:
        """What is to be booked of it."""
        return Commitment(
            backend=self.backend, per_hour=self.hourly_nano, start=self.began, end=self.ended
        )

    @property
    def booked_as(self) -> str:
        """Its name among commitments."""
        return f"reserve_{self.reserve}_{self.id}"


class RentedStore(Protocol):
    """Remembers them over the process's end."""

    def read(self) -> list[Rented]:
        """All of them. Raises OSError where what is written cannot be read: nobody may start any
        then, for nobody knows what runs."""
        ...

    def write(self, rented: list[Rented]) -> None:
        """Durable when it returns. Raises OSError."""
        ...


class MemoryRented:
    """Forgets with its process."""

    def __init__(self) -> None:
        self.rented: list[Rented] = []

    def read(self) -> list[Rented]:
        """All of them."""
        return list(self.rented)

    def write(self, rented: list[Rented]) -> None:
        """In the place of those before."""
        self.rented = list(rented)


_decode = msgspec.json.Decoder(list[Rented]).decode


class RentedFile:
    """In a file of its own, replaced whole."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> list[Rented]:
        """All of them. Raises OSError."""
        try:
            return _decode(self._path.read_bytes())
        except FileNotFoundError:
            return []
        except msgspec.DecodeError as error:
            raise OSError(f"{self._path} cannot be read: {error}") from None

    def write(self, rented: list[Rented]) -> None:
        """In the place of those before. Raises OSError."""
        write_whole(self._path, msgspec.json.encode(rented))
