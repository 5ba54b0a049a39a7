"""Platforms as a replay knows them: what a second of an H100 costs, and how long a start takes.

Prices in US dollars, from the platforms' pages as of 2026: RunPod flex 0.00116 a second, Modal
0.001097 a second; a reserved H100 pod 2.69 an hour.
"""

from __future__ import annotations

import msgspec

RESERVED_PER_S = 2.69 / 3600


class Platform(msgspec.Struct, frozen=True):
    """Starts take any time between the two, each as likely; start, run and idle are billed."""

    name: str
    per_s: float
    fastest_s: float
    slowest_s: float
    idle_s: float = 5.0
    """A worker that nobody holds is let go after so many seconds without a call."""

    def starts(self, samples: int = 100) -> list[float]:
        """Equally likely start times, in seconds."""
        span = self.slowest_s - self.fastest_s
        return [self.fastest_s + span * (n + 0.5) / samples for n in range(samples)]


PLATFORMS = {
    one.name: one
    for one in (
        Platform("runpod", 0.00116, 3.0, 15.0),
        Platform("modal", 0.001097, 4.0, 6.0),
    )
}
