"""What became of a job on one lease: it has ended, waits again, or is somebody else's. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from gateway.jobs.records import JobAttempt, JobFault, fault_of
from gateway.storage.base import LedgerRow
from gateway.storage.jobs.states import JobState
from gateway.types import ApiError

MOST_RESTARTS = 3
"""How often a job is begun again whose gateway has died with it: it may be what kills them."""
_SHORTEST_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 30.0


class EndsAs(msgspec.Struct, frozen=True):
    """Its call is settled, or about to be."""

    state: JobState
    fault: JobFault | None = None


class Waits(msgspec.Struct, frozen=True):
    """It may begin again after a pause."""

    pause_s: float = 0.0
    attempt: JobAttempt | None = None
    why: JobFault | None = None


class IsLeft(msgspec.Struct, frozen=True):
    """It goes on where it is, and another gateway asks about it."""


Outcome = EndsAs | Waits | IsLeft

PASSED = "deadline_passed"

CANCELED = EndsAs(
    "canceled",
    JobFault(message="The job was canceled.", type="canceled", code="canceled", status=409),
)
EXPIRED = EndsAs(
    "expired",
    JobFault(
        message="The job was not done by its deadline. Give it a later one, or another model.",
        type="timeout",
        code=PASSED,
        status=504,
    ),
)
INTERRUPTED_CODE = "interrupted"
INTERRUPTED = EndsAs(
    "failed",
    JobFault(
        message="The gateway died while a backend had the job, and nobody can ask how far it came. "
        "It was not sent again; POST .../retry does that.",
        type="api_error",
        code=INTERRUPTED_CODE,
    ),
)
_TOO_LATE = frozenset(("timeout", "backend_timeout"))


def of_failure(error: ApiError, *, late: bool) -> EndsAs:
    """Its call was refused, or has failed. ``late``: its deadline has passed."""
    return EXPIRED if late and error.code in _TOO_LATE else EndsAs("failed", fault_of(error))


def put_off(error: ApiError) -> Waits | EndsAs:
    """Nobody could serve it now: what is wrong with itself will be later too."""
    if 400 <= error.status < 500 and error.status != 429:
        return EndsAs("failed", fault_of(error))
    asked = error.headers.get("Retry-After", "")
    pause_s = float(asked) if asked.isdecimal() else 2 * _SHORTEST_PAUSE_S
    return Waits(min(max(pause_s, _SHORTEST_PAUSE_S), _LONGEST_PAUSE_S), why=fault_of(error))


def restarted(attempt: JobAttempt) -> JobAttempt | None:
    """What is known of a job that begins again after its gateway has died; None: too often."""
    if attempt.restarts >= MOST_RESTARTS:
        return None
    return JobAttempt(restarts=attempt.restarts + 1, spent=attempt.spent)


def of_rows(rows: Sequence[LedgerRow], answered: bool) -> EndsAs:
    """Its call is settled, by a gateway that died before it could say so."""
    row = rows[0] if rows else None
    if answered and row is not None and row.outcome == "success":
        return EndsAs("succeeded")
    code = "" if row is None else row.error
    if code == "canceled":
        return CANCELED
    if code == PASSED:
        return EXPIRED
    if row is None or row.outcome in ("interrupted", "success"):
        return INTERRUPTED
    message = f"The call failed: {code.replace('_', ' ')}."
    return EndsAs("failed", JobFault(message=message, type="backend_error", code=code))
