"""The line at an engine, which others stand in too: what it said of it last. Pure."""

from __future__ import annotations

from adapters.types import Probe

FRESH_S = 40.0
"""What was said longer ago counts no more; a backend that is well is asked every fifteen seconds
at least."""


class EngineLine:
    """Of a backend that counts its calls, whoever sent them. Instants are monotonic seconds."""

    __slots__ = ("_computes", "_others", "_until", "told")

    def __init__(self) -> None:
        self.told = False
        """It counts its calls."""
        self._others = 0
        self._computes: int | None = None
        self._until = float("-inf")

    def hear(self, probe: Probe, sent: int, now: float) -> None:
        """Takes over what the engine says; ``sent`` are the calls of ours that are there."""
        self.told = probe.counts_all and probe.running is not None
        if not self.told or probe.running is None:
            self._until = now
            return
        self._others = max(0, probe.running + (probe.queued or 0) - sent)
        self._computes = max(probe.running, 1) if probe.queued else None
        self._until = now + FRESH_S

    def others(self, now: float) -> int:
        """Calls there that are not ours."""
        return self._others if now < self._until else 0

    def computes(self, now: float) -> int | None:
        """Calls that it computes at once: as many as it did while more of them waited. None where
        none did, so that nobody knows."""
        return self._computes if now < self._until else None
