"""The end of the process that keeps the store: answers questions, and knows whose hold is whose."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

from gateway.storage.base import Admitted, Claim, SharedStore, StorageUnavailable
from gateway.storage.claims import CallClaims, ClaimTemplate, template_of
from gateway.storage.served.messages import (
    Admit,
    AdmitAs,
    Answer,
    Extend,
    Forget,
    Learn,
    Number,
    PastCap,
    Question,
    Reinstate,
    Release,
    Restore,
    Settle,
    SettleAs,
    SpentInWindows,
    Statuses,
    StoreFault,
    Taken,
    Tidied,
    WindowsAsked,
    standings,
    told,
)
from gateway.types import Principal

T = TypeVar("T")

_NOBODY = Principal(key_id="", user="")
"""Whose calls they are is the asking process's to know."""


class StoreServer:
    """Answers for a store whose methods never wait, such as that of one process's memory."""

    def __init__(self, store: SharedStore) -> None:
        self._store = store
        self._holds: defaultdict[int, set[str]] = defaultdict(set)
        """By the number of the process that holds them. Several may have that of a job, which goes
        on when one of them dies."""
        self._callers: defaultdict[int, dict[int, ClaimTemplate]] = defaultdict(dict)
        """By the number of the process, and that process's own of the caller."""
        self._answers: dict[type, Callable[[int, Any], Answer | None]] = {
            Admit: self._admit,
            Extend: self._extend,
            Reinstate: self._reinstate,
            Settle: self._settle,
            Release: self._release,
            Restore: self._restore,
            Statuses: self._statuses,
            WindowsAsked: self._spending,
            Learn: self._learn,
            Forget: self._forget,
            AdmitAs: self._admit_as,
            SettleAs: self._settle_as,
            Tidied: self._tidy,
        }

    def answer(self, process: int, question: Question) -> Answer | None:
        """What the process is told; None where nothing is."""
        try:
            return self._answers[type(question)](process, question)
        except ValueError as error:
            return StoreFault("value", str(error))
        except StorageUnavailable as error:
            return StoreFault("unavailable", str(error))

    def holds_of(self, process: int) -> int:
        """How many it has that have not ended."""
        return len(self._holds.get(process, ()))

    def _admit(self, process: int, asked: Admit) -> Answer:
        return self._take(process, asked.hold_id, asked.claims, asked.ttl_s)

    def _admit_as(self, process: int, asked: AdmitAs) -> Answer:
        template = self._callers[process][asked.caller]
        claims = CallClaims(template, asked.nano_usd, asked.gpu_us, asked.rest, asked.surplus)
        return self._take(process, asked.hold_id, claims, asked.ttl_s)

    def _take(self, process: int, hold_id: str, claims: Sequence[Claim], ttl_s: float) -> Answer:
        result = _at_once(self._store.admit(hold_id, claims, ttl_s))
        if isinstance(result, Admitted):
            self._holds[process].add(hold_id)
        return told(result, claims)

    def _extend(self, process: int, asked: Extend) -> Answer:
        return Number(int(_at_once(self._store.extend(asked.hold_id, asked.unit, asked.more))))

    def _reinstate(self, process: int, asked: Reinstate) -> Answer:
        _at_once(self._store.reinstate(asked.hold_id, asked.claims, asked.ttl_s))
        self._holds[process].add(asked.hold_id)
        return Number(0)

    def _settle(self, process: int, asked: Settle) -> Answer:
        self._end(asked.hold_id)
        return Number(_at_once(self._store.settle(asked.hold_id, asked.claims, asked.actual)))

    def _settle_as(self, process: int, asked: SettleAs) -> PastCap | None:
        self._end(asked.hold_id)
        template = self._callers[process][asked.caller]
        claims = CallClaims(template, asked.nano_usd, asked.gpu_us)
        past_nano = _at_once(self._store.settle(asked.hold_id, claims, asked.actual))
        return PastCap(asked.hold_id, past_nano) if past_nano else None

    def _end(self, hold_id: str) -> None:
        for holds in self._holds.values():
            holds.discard(hold_id)

    def _learn(self, process: int, told_of: Learn) -> None:
        template = template_of(_NOBODY, told_of.claims, told_of.shown)
        self._callers[process][told_of.number] = template

    def _forget(self, process: int, asked: Forget) -> None:
        self._callers.pop(process, None)

    def _release(self, process: int, asked: Release) -> None:
        self._end(asked.hold_id)
        _at_once(self._store.release(asked.hold_id))

    def _restore(self, process: int, asked: Restore) -> Answer:
        _at_once(self._store.restore(asked.spent))
        return Number(0)

    def _statuses(self, process: int, asked: Statuses) -> Answer:
        return Taken(standings(_at_once(self._store.statuses(asked.claims)), asked.claims))

    def _spending(self, process: int, asked: WindowsAsked) -> Answer:
        found = _at_once(self._store.spent(asked.claims))
        index = asked.claims.index
        return SpentInWindows(tuple([(index(one.claim), one.spent, one.ends_at) for one in found]))

    def _tidy(self, process: int, asked: Tidied) -> None:
        left: set[str] = set()
        for gone in asked.processes:
            self._callers.pop(gone, None)
            left |= self._holds.pop(gone, set())
        for hold_id in left.difference(*self._holds.values()):
            _at_once(self._store.release(hold_id))


def _at_once(work: Coroutine[Any, Any, T]) -> T:
    """What a coroutine gives that waits for nothing."""
    try:
        work.send(None)
    except StopIteration as done:
        value: T = done.value
        return value
    work.close()
    raise AssertionError("a store that is served must not wait")
