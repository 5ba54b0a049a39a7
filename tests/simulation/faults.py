"""What goes wrong, and when: drawn beforehand, so that a seed says it all."""

from __future__ import annotations

import random
from typing import Literal

import msgspec

What = Literal[
    "kill",
    "end",
    "reload",
    "shared stalls",
    "shared down",
    "shared forgets",
    "shared loses",
    "shared slow",
    "ledger stalls",
    "ledger down",
    "ledger refuses",
    "ledger loses",
    "cut off",
]

OF_PROCESSES: tuple[What, ...] = ("kill", "kill", "end", "reload", "reload")
OF_SHARED: tuple[What, ...] = (
    "shared stalls",
    "shared down",
    "shared forgets",
    "shared loses",
    "shared slow",
)
OF_LEDGER: tuple[What, ...] = ("ledger stalls", "ledger refuses")
OF_LEDGER_SERVER: tuple[What, ...] = (*OF_LEDGER, "ledger down", "ledger loses", "cut off")


class Fault(msgspec.Struct, frozen=True):
    """One of them; ``lasts_s`` says when it is over, where that is not at once."""

    at_s: float
    what: What
    lasts_s: float
    which: float
    """In [0, 1): which of several gateways."""


def drawn(
    draw: random.Random, lasts_s: float, *, shared: bool, ledger_server: bool
) -> tuple[Fault, ...]:
    """Those of one seed, by time; of some seeds none, or of one kind alone."""
    kinds: list[What] = []
    if draw.random() < 0.75:
        kinds += OF_PROCESSES
    if shared and draw.random() < 0.6:
        kinds += OF_SHARED
    if draw.random() < 0.6:
        kinds += OF_LEDGER_SERVER if ledger_server else OF_LEDGER
    count = draw.randrange(1, 7) if kinds else 0
    faults = [
        Fault(
            at_s=draw.random() * lasts_s,
            what=draw.choice(kinds),
            lasts_s=draw.choice((0.3, 1.0, 5.0, 25.0)) * draw.random(),
            which=draw.random(),
        )
        for _ in range(count)
    ]
    return tuple(sorted(faults, key=lambda fault: fault.at_s))
