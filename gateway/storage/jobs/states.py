"""The states of a job, and which may follow which. Pure.

queued    accepted; waits for a backend, also after one that had no room for it
starting  a platform has it, where it waits for a worker
running   the platform says that it runs; or the gateway runs it by itself
succeeded, failed, canceled, expired: it has ended, once and for ever
"""

from __future__ import annotations

from typing import Literal, get_args

JobState = Literal["queued", "starting", "running", "succeeded", "failed", "canceled", "expired"]

STATES: tuple[JobState, ...] = get_args(JobState)
_ENDS: tuple[JobState, ...] = ("succeeded", "failed", "canceled", "expired")
ENDED = frozenset(_ENDS)

FOLLOWS: dict[JobState, tuple[JobState, ...]] = {
    "queued": ("starting", "running", *_ENDS),
    "starting": ("queued", "running", *_ENDS),
    "running": ("queued", "starting", *_ENDS),
    "succeeded": (),
    "failed": (),
    "canceled": (),
    "expired": (),
}
"""Back to ``queued``: the backend had no room, or the gateway that ran it by itself has died. From
``running`` to ``starting``: that attempt failed, and another backend is asked."""


def may_become(state: JobState, other: JobState) -> bool:
    """Whether a job in ``state`` may be in ``other`` next. To stay is no step."""
    return other in FOLLOWS[state]


def comes_from(state: JobState) -> tuple[JobState, ...]:
    """The states from which a job may come to be in ``state``, in their order."""
    return tuple(one for one in STATES if state in FOLLOWS[one])
