"""Platforms as a replay knows them: prices, how long a start takes, what is billed, what obeys.

US dollars for an H100: RunPod's flex workers and Replicate's private models by the platforms' own
pages, Modal's by a third party's catalogue of its page, all as of 2026 (``spillgate prices``).
Starts are assumed to take any time between two bounds, each as likely.
"""

from __future__ import annotations

import msgspec

_SAMPLES = 200

RESERVED_PER_HOUR = 2.69
"""US dollars for a reserved H100."""


class Platform(msgspec.Struct, frozen=True, kw_only=True):
    """Of serverless workers; start, run and idle are billed by the second. Times are seconds."""

    name: str
    per_s: float
    """US dollars a second of a worker."""
    starts: tuple[float, ...]
    """Equally likely start times, at least one: samples that stand for the distribution."""
    default_idle_s: float
    """What an endpoint keeps a worker for without a call, unless it is told otherwise."""
    idle_s: float = 5.0
    """The same, as the planner sets it."""
    reserved_per_hour: float = RESERVED_PER_HOUR
    """US dollars an hour of a reserved worker of the same kind."""
    per_call: float = 0.0
    """US dollars for each call beside its time."""
    cancels: bool = True
    """A start that nobody waits for any more can be called off."""
    news_s: float = 0.0
    """How late the gateway hears that a worker is ready."""
    reserved_start_s: float = 0.0
    """Until a reserved worker that was just rented is ready."""
    look_every_s: float = 0.5
    """Between two looks of the planner."""

    @property
    def reserved_per_s(self) -> float:
        """US dollars a second of a reserved worker."""
        return self.reserved_per_hour / 3600

    @property
    def mean_start_s(self) -> float:
        """Of all starts."""
        return sum(self.starts) / len(self.starts)

    def careful(self) -> Platform:
        """The same with everything that may stand in the planner's way: starts that cannot be
        called off, news half a second late, rented machines after two minutes, a look a second."""
        return msgspec.structs.replace(
            self, cancels=False, news_s=0.5, reserved_start_s=120.0, look_every_s=1.0
        )


def between(fastest_s: float, slowest_s: float) -> tuple[float, ...]:
    """Samples of starts that take any time between the two, each as likely."""
    span = slowest_s - fastest_s
    return tuple(fastest_s + span * (n + 0.5) / _SAMPLES for n in range(_SAMPLES))


PLATFORMS = {
    one.name: one
    for one in (
        Platform(name="runpod", per_s=0.00116, starts=between(3.0, 15.0), default_idle_s=5.0),
        Platform(name="modal", per_s=0.001097, starts=between(4.0, 6.0), default_idle_s=60.0),
        Platform(
            name="replicate",
            per_s=0.001525,
            starts=between(8.0, 12.0),
            default_idle_s=300.0,
        ),
    )
}
"""By name."""
