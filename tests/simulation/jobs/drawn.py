"""Which jobs a seed asks for, when, and what becomes of that."""

from __future__ import annotations

import random

import msgspec

from gateway.types import Principal
from tests.simulation.policies import PEOPLE

_MODELS = ("work", "work", "work", "both", "any", "near", "far")


class AskedJobAt(msgspec.Struct, frozen=True, kw_only=True):
    """One job, as drawn."""

    name: str
    at_s: float
    """Seconds after the beginning."""
    principal: Principal
    model: str
    deadline_s: float
    key: str
    """Under which it is asked for; empty: under none."""
    again_s: tuple[float, ...]
    """Seconds after which it is asked for once more."""
    cancel_s: float | None
    """Seconds after which it is canceled; None: never."""
    is_told: bool
    """Its end is told to a receiver."""


def drawn(draw: random.Random, lasts_s: float) -> tuple[AskedJobAt, ...]:
    """Those of one seed, by time."""
    jobs = (_job(number, draw, lasts_s) for number in range(draw.choice((4, 10, 20))))
    return tuple(sorted(jobs, key=lambda one: one.at_s))


def _job(number: int, draw: random.Random, lasts_s: float) -> AskedJobAt:
    is_named = draw.random() < 0.5
    return AskedJobAt(
        name=f"job-{number:02}",
        at_s=draw.random() * lasts_s,
        principal=draw.choice(PEOPLE),
        model=draw.choice(_MODELS),
        deadline_s=draw.choice((5.0, 30.0, 60.0)),
        key=f"key {number}" if is_named else "",
        again_s=tuple(draw.random() * 5.0 for _ in range(draw.randrange(3))) if is_named else (),
        cancel_s=draw.random() * 10.0 if draw.random() < 0.25 else None,
        is_told=draw.random() < 0.5,
    )
