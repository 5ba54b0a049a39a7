"""All processes that serve one policy on one port, as each of them knows them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import msgspec


class Readiness(msgspec.Struct, frozen=True):
    """Whether calls may be sent here."""

    missing: tuple[str, ...]
    """What speaks against it."""
    warnings: tuple[str, ...]
    """What does not."""


class Together(Protocol):
    """What is asked of all; this process is one of them. Raises StorageUnavailable where they
    cannot be asked."""

    async def metrics(self) -> bytes:
        """What all count, and have counted that are gone, in Prometheus' text format."""
        ...

    async def readiness(self) -> Readiness:
        """What any of them lacks."""
        ...

    async def backends(self) -> Mapping[int, list[dict[str, Any]]]:
        """Number of the process -> how each backend stands there, as ``/admin/backends`` has it."""
        ...

    def tell_of_drained(self, backend: str, draining: bool) -> None:
        """A backend is drained, or sent calls again, here; it shall be everywhere."""
        ...
