"""The calls at one backend of all processes that serve together, as one of them knows them.

Each tells of its own as they come and go, and hears how many the others have: a moment late, so
what is worked out of it is right on the average, and not to the microsecond.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable

import msgspec

from adapters.base import Clock, SharesWorkers
from gateway.backends.live import LiveBackend
from gateway.policy.model import BackendSpec, Policy


class BackendUse(msgspec.Struct, frozen=True, array_like=True):
    """Of a backend, by one process or several."""

    calls: int = 0
    """Of callers, that have a place there."""
    pings: int = 0
    """Of the warm pool."""
    begun: int = 0
    """Calls and pings that ever began, those that have ended among them."""
    warmed: int = 0
    """Of these, how many have ended and left a worker warm."""

    def __add__(self, other: BackendUse) -> BackendUse:
        return BackendUse(
            self.calls + other.calls,
            self.pings + other.pings,
            self.begun + other.begun,
            self.warmed + other.warmed,
        )


NONE = BackendUse()


class UseInAll:
    """Of one backend. ``tell`` is given this process's part when it has changed, once in a turn of
    the loop; ``soon`` calls something at the end of this turn."""

    def __init__(
        self,
        tell: Callable[[BackendUse], None],
        soon: Callable[[Callable[[], None]], object],
        clock: Clock,
    ) -> None:
        self._tell = tell
        self._soon = soon
        self._clock = clock
        self._others = NONE
        self._begun = 0
        self._warmed = 0
        self._is_due = False
        self._backends: weakref.WeakSet[LiveBackend] = weakref.WeakSet()

    def join(self, backend: LiveBackend) -> None:
        """Its calls are counted, among others; it is told of the others' from now on. After a
        reload there are two for a while."""
        if backend not in self._backends:
            self._backends.add(backend)
            backend.leases.changed = self._changed
            _set(backend, self._others, self._clock.monotonic())

    def hear(self, others: BackendUse, *, first: bool = False) -> None:
        """The others have so many now. ``first``: they had before this process came."""
        before, self._others = self._others, others
        now = self._clock.monotonic()
        for backend in tuple(self._backends):
            if not first:
                _learn(backend, before, others, now)
            _set(backend, others, now)

    def _changed(self, begun: int, warmed: int) -> None:
        self._begun += begun
        self._warmed += warmed
        if not self._is_due:
            self._is_due = True
            self._soon(self._flush)

    def _flush(self) -> None:
        self._is_due = False
        parts = [backend.leases for backend in self._backends]
        calls, pings = sum(one.calls for one in parts), sum(one.pings for one in parts)
        self._tell(BackendUse(calls, pings, self._begun, self._warmed))


def _set(backend: LiveBackend, others: BackendUse, now: float) -> None:
    backend.leases.share.hear_of_others(others.calls + others.pings, now)


def _learn(backend: LiveBackend, before: BackendUse, others: BackendUse, now: float) -> None:
    """What calls that came or went say of its workers, and of when callers come."""
    learned = backend.learned
    for _ in range(others.begun - before.begun):
        learned.start(now)
    for _ in range(others.warmed - before.warmed):
        learned.end(now)
    if others.calls + others.pings < before.calls + before.pings:
        backend.last_end = now
    if others.calls != before.calls:
        backend.note_call(now)


MakeUse = Callable[[str], UseInAll]
"""Of a backend's name."""


def matters(policy: Policy, spec: BackendSpec, adapter: object) -> bool:
    """Whether what others have at a backend means anything here: its workers come and go, or are
    kept warm, or its machine is paid for by the hour and does not say itself how long it ran."""
    common = spec.common
    if common.cold_start is not None or spec.name in policy.warm_pool:
        return True
    dated = policy.prices[common.price] if common.price else None
    by_the_hour = dated is not None and any(price.reserved for price in dated.entries)
    return by_the_hour and not isinstance(adapter, SharesWorkers)
