"""Calls that are known to come: how many of them will run at once. Pure."""

from __future__ import annotations

import math

import msgspec


class ComingCalls(msgspec.Struct, frozen=True, kw_only=True):
    """What a schedule begins next."""

    schedule: str
    model: str
    at: float
    """Seconds since the epoch."""
    calls: int = 1
    within_s: float | None = None
    """By when all of them must have ended, after they have begun; None: they run at once."""


class ComingLook(msgspec.Struct, frozen=True):
    """What a planner saw of them."""

    what: ComingCalls
    run_s: float
    """How long one of them runs, as far as was learned."""
    at_once: int
    """Of them, so many are foreseen to run at once."""


def seen_coming(what: ComingCalls, run_s: float) -> ComingLook:
    """As many run at once as must, so that all have ended in time; at least one."""
    at_once = what.calls
    if what.within_s is not None:
        at_once = min(at_once, math.ceil(what.calls * run_s / what.within_s))
    return ComingLook(what, run_s, max(1, at_once))
