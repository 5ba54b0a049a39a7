"""What it costs to have no worker when a call needs one, in seconds of a worker. Pure."""

from __future__ import annotations

import msgspec

from gateway.planning.starts import StartSamples

_MOST_RACED = 8


class Worth(msgspec.Struct, frozen=True):
    """What a missing worker costs, and how it is made up for best."""

    seconds: float
    """Of a worker's price: the starts that are paid for, and the chance that the call is late."""
    starts: int
    """Workers to start together for one call that waits, of which the first takes it."""


def worth_of_worker(starts: StartSamples, slo_s: float, late_s: float) -> Worth:
    """The least over the number of starts that race for one call; ``late_s`` are the seconds of a
    worker that one late call is worth."""
    late = 1 - starts.within(slo_s)
    options = (
        Worth(count * starts.fastest_of(count) + late_s * late**count, count)
        for count in range(1, _MOST_RACED + 1)
    )
    return min(options, key=lambda worth: worth.seconds)
