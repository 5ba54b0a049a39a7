"""Calls that are known to come, and jobs that wait for their turn: how many of them run at once.
Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable

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


_SAFE = 0.8
"""Of the time that is left until a deadline is reckoned with: what is known of runs errs."""


class JobsInLine(msgspec.Struct, frozen=True):
    """Jobs that may begin now and that nobody has taken yet."""

    model: str
    jobs: int
    deadline: float
    """By when the first of them must have ended, in seconds since the epoch."""
    last: float = -math.inf
    """By when the last must, where it is another instant."""


class JobsLook(msgspec.Struct, frozen=True):
    """What a planner saw of those of one model."""

    model: str
    jobs: int
    deadline: float
    """Of the first that can still end in time, as far as is known, in seconds since the epoch; of
    all, where none can."""
    run_s: float
    """How long one of them runs, as far as was learned."""
    at_once: int
    """As many must run at once, so that all that can end in time do."""


def seen_jobs(
    model: str, line: Iterable[JobsInLine], run_s: float, start_s: float, now_at: float
) -> JobsLook | None:
    """None where none of the model wait. ``start_s``: until a worker that is started now has one;
    no worker is wanted for those whose time would be over by its end. Of jobs that are counted
    together some can end where the last can: then its deadline is reckoned with."""
    mine = sorted(
        (one for one in line if one.model == model and one.jobs), key=lambda one: one.deadline
    )
    if not mine:
        return None
    each_s = max(run_s, 0.001)
    at_once = due = 0
    first: float | None = None
    for group in mine:
        soonest = now_at + start_s + each_s
        deadline = group.deadline if group.deadline >= soonest else group.last
        if deadline < soonest:
            continue
        left_s = deadline - now_at - start_s
        first = deadline if first is None else first
        due += group.jobs
        one_after_another = max(1, int(_SAFE * left_s / each_s))
        at_once = max(at_once, math.ceil(due / one_after_another))
    jobs = sum(one.jobs for one in mine)
    return JobsLook(model, jobs, mine[0].deadline if first is None else first, run_s, at_once)
