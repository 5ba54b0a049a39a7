"""Asking a platform again and again, until a job is done or nobody waits for it any more."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from adapters.base import Clock
from adapters.errors import BackendError, FailureClass, Ran
from adapters.types import Progress, Usage

T = TypeVar("T")

SLOWEST = 2.0
"""Seconds between two polls of a job that has run for long."""
LONGEST_PAUSE = 30.0
"""Seconds; a platform that asks for more is asked sooner, for the job may end meanwhile."""
LOST_AFTER = 10
"""Polls in a row that may fail before the job is given up for lost."""
_PASSING = frozenset(
    (
        FailureClass.UNREACHABLE,
        FailureClass.OVERLOADED,
        FailureClass.LOADING,
        FailureClass.AMBIGUOUS,
        FailureClass.FAILED,
        FailureClass.MALFORMED,
        FailureClass.TRUNCATED,
        FailureClass.TIMEOUT,
    )
)
"""What may befall one poll without saying anything of the job."""
_LIKE_AN_END = frozenset(
    (
        FailureClass.FAILED,
        FailureClass.MALFORMED,
        FailureClass.TRUNCATED,
        FailureClass.TIMEOUT,
    )
)
"""Of these, what a job's own end is told by as well."""


def pace(elapsed: float, shortest: float) -> float:
    """Seconds until the next poll: a twentieth of what has passed, so that polling makes no call
    more than about 5 % slower, and never more often than ``shortest``."""
    return min(max(shortest, elapsed / 20), max(shortest, SLOWEST))


class Patience:
    """Counts the polls that failed in a row, for a job that is known to have been submitted."""

    __slots__ = ("_failures",)

    def __init__(self) -> None:
        self._failures = 0

    def went_well(self) -> None:
        """A poll was answered: the failures before it no longer count."""
        self._failures = 0

    def bear(self, error: BackendError) -> float:
        """Seconds to wait before the next poll. Raises AMBIGUOUS where there is no use in one:
        the job was taken, so no other class would be true."""
        self._failures += 1
        if error.failure not in _PASSING or self._failures >= LOST_AFTER:
            raise lost(error)
        return min(error.retry_after or 0.0, LONGEST_PAUSE)


def lost(error: BackendError) -> BackendError:
    """Why a call that was taken will never be known to have run."""
    return BackendError(
        FailureClass.AMBIGUOUS,
        "The backend took the call and can no longer be asked about it.",
        detail=error.detail or error.message,
    )


def after_taken(error: BackendError) -> BackendError:
    """What came of a question about a call that was taken: to refuse the question says nothing of
    whether the call runs."""
    return lost(error) if error.ran is Ran.NO else error


def note(progress: Progress, now: float, *, queued: bool) -> None:
    """A platform says of a call that it waits, or that it runs. ``now``: on the monotonic clock."""
    if queued:
        progress.queued_until = now
    else:
        progress.runs_at = now


def timed(progress: Progress, sent: float, now: float) -> Usage:
    """What a call used that ended at a platform which says how it stands and states no times: the
    wait in which it was seen there was no run. Instants of the monotonic clock."""
    began = max(sent, progress.queued_until)
    return Usage(queue_s=began - sent, exec_s=now - began)


def unanswered(error: BackendError) -> BackendError:
    """A question about a job that failed, told apart from a job that failed: what would be read
    as the job's own end becomes AMBIGUOUS."""
    if error.failure not in _LIKE_AN_END:
        return error
    return BackendError(
        FailureClass.AMBIGUOUS,
        "The backend could not be asked about the job.",
        retry_after=error.retry_after,
        detail=error.detail or error.message,
    )


async def poll_until(
    ask: Callable[[], Awaitable[T | None]],
    clock: Clock,
    *,
    deadline: float,
    every: float,
) -> T:
    """Asks at once and then at a slowing pace until ``ask`` gives something.

    A failed poll is borne a few times (see ``Patience``). Raises TIMEOUT at ``deadline``, an
    instant on the clock's monotonic scale.
    """
    started = clock.monotonic()
    patience = Patience()
    while True:
        wait = 0.0
        try:
            answer = await ask()
        except BackendError as error:
            if clock.monotonic() < deadline:
                wait = patience.bear(error)
        else:
            patience.went_well()
            if answer is not None:
                return answer
        now = clock.monotonic()
        if now >= deadline:
            raise BackendError(FailureClass.TIMEOUT, "The backend did not finish in time.")
        wait = max(wait, pace(now - started, every))
        await clock.sleep(min(wait, deadline - now))
