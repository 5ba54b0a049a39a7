"""All processes that serve one policy on one port, as each of them knows them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from math import inf
from typing import Any, Protocol

import msgspec


class Readiness(msgspec.Struct, frozen=True):
    """Whether calls may be sent here."""

    missing: tuple[str, ...]
    """What speaks against it."""
    warnings: tuple[str, ...]
    """What does not."""


class ToldTrial(msgspec.Struct, frozen=True):
    """A policy that is tried beside the one in force."""

    document: str = ""
    """The text of the candidate; empty: what began at ``since`` is tried no more, and nothing that
    is tried now where that is 0."""
    in_force: str = ""
    """The version of the policy beside which it is tried."""
    percent: float = 0.0
    since: float = 0.0

    def ends(self, since: float) -> bool:
        """Whether this is the end of the trial that began then."""
        return not self.document and self.since in (0.0, since)


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

    def tell_of_trial(self, trial: ToldTrial) -> None:
        """It shall begin in each, this one too, or end."""
        ...

    async def trials(self) -> Sequence[bytes]:
        """What the trials of all have counted, and of those that are gone."""
        ...


class Leadership(Protocol):
    """Whether this process does what one alone must do for all: a lease, which ends unless it is
    renewed."""

    @property
    def until(self) -> float:
        """Monotonic seconds: until when it leads, as far as it is known; in the past where it does
        not."""
        ...

    @property
    def machine(self) -> str:
        """A name of all processes that serve together, another one after each start of all."""
        ...

    async def gained(self) -> None:
        """Returns once this process leads."""
        ...

    async def lost(self) -> None:
        """Returns once it does not any more, or is to hand over."""
        ...

    def leave(self) -> None:
        """All is handed over, or this process ends: another may lead."""
        ...

    def tell_of_tails(self, backend: str, number: int) -> None:
        """The idle seconds of the backend are booked up to now, in ``number`` rows so far."""
        ...

    def tell_of_kept(self, backend: str, workers: int) -> None:
        """The platform of the backend was told to keep so many workers."""
        ...

    def watch(self, tails: Callable[[str, int], None], kept: Callable[[str, int], None]) -> None:
        """These are called when another process has said the same."""
        ...


class Alone:
    """The ``Leadership`` of the only process that there is."""

    until = inf

    def __init__(self, machine: str) -> None:
        self.machine = machine

    async def gained(self) -> None:
        """It always leads."""

    async def lost(self) -> None:
        """Never returns."""
        await asyncio.Event().wait()

    def leave(self) -> None:
        """Nobody else is there."""

    def tell_of_tails(self, backend: str, number: int) -> None:
        """Nobody hears it."""

    def tell_of_kept(self, backend: str, workers: int) -> None:
        """Nobody hears it."""

    def watch(self, tails: Callable[[str, int], None], kept: Callable[[str, int], None]) -> None:
        """Nobody says it."""
