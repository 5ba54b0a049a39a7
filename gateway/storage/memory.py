"""The shared store of a gateway that is one process: plain dictionaries on one event loop.

No method awaits, so each is atomic; there is no lock and no task. What is over is dropped in
passing: each call frees a bounded number of expired holds and of counters that say nothing any
more, so memory follows the holds that are alive and the scopes that are in use.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from adapters.base import Clock
from gateway.storage.base import Admitted, Claim, LimitStatus, Refused, StorageUnavailable
from gateway.storage.counters import KINDS, TOTALS, Counter, Total
from gateway.types import MICRO, Unit

_Key = tuple[str, Unit, str]
_Hold = tuple[Sequence[Claim], list[Counter], list[Any], int]
"""(claims, the counter of each, the mark of each, when it expires). A tuple because it is made
on every call and a tuple is the cheapest record."""

_LOOK_EVERY_US = 10 * MICRO
"""A counter that says nothing any more is dropped this much later at the most: one that is used
again at once must not be made anew for every call."""

_SWEEP = 64
"""The most holds, and the most counters, that one call drops."""


class _Remembered:
    """At least the last ``capacity`` ids that were added, at most twice as many."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._young: set[str] = set()
        self._old: set[str] = set()

    def add(self, item: str) -> None:
        self._young.add(item)
        if len(self._young) >= self._capacity:
            self._young, self._old = set(), self._young

    def __contains__(self, item: str) -> bool:
        return item in self._young or item in self._old


class MemorySharedStore:
    """A ``SharedStore`` in this process's memory. What it counts ends with the process.

    ``remember`` bounds the memory of settled ids by their number: the last 100,000 are known,
    which at up to 27 calls a second is the hour that the contract asks for, and at any pace is
    far more than the seconds in which a settlement is repeated.
    """

    def __init__(self, clock: Clock, *, remember: int = 100_000) -> None:
        self._clock = clock
        self._counters: dict[_Key, Counter] = {}
        self._holds: dict[str, _Hold] = {}
        self._settled = _Remembered(remember)
        self._expiries: list[tuple[int, str]] = []
        self._idle: list[tuple[int, _Key]] = []

    def __repr__(self) -> str:
        return f"MemoryStore({len(self._holds)} holds, {len(self._counters)} counters)"

    # --- the protocol ---------------------------------------------------------------------------

    async def admit(
        self, hold_id: str, claims: Sequence[Claim], ttl_s: float
    ) -> Admitted | Refused:
        now = self._now()
        self._sweep(now)
        if hold_id in self._holds:
            raise ValueError(f"{hold_id!r} is held already")
        known = self._counters
        counters: list[Counter] = []
        marks: list[Any] = []
        shown: list[LimitStatus] = []
        for claim in claims:
            counter = known.get((claim.scope, claim.unit, claim.window))
            if counter is None or counter.ends <= now:
                counter = self._open(claim, now)
            mark = counter.take(claim, now)
            if mark is None:
                _give_back(claims, counters, marks, now)
                wait = counter.retry_after_us(claim, now)
                return Refused(counter.status(claim, now), wait / MICRO)
            counters.append(counter)
            marks.append(mark)
            if claim.unit == "requests":
                shown.append(counter.status(claim, now))
        self._hold(hold_id, (claims, counters, marks, now + round(ttl_s * MICRO)))
        return Admitted(tuple(shown))

    async def extend(self, hold_id: str, unit: Unit, more: int) -> bool:
        if unit not in TOTALS:
            raise ValueError(f"{unit} is not held in amounts")
        hold = self._holds.get(hold_id)
        if hold is None or hold[3] <= self._now():
            raise StorageUnavailable(f"{hold_id} is not held any more")
        claims, counters, marks, _ = hold
        chosen = [index for index, claim in enumerate(claims) if claim.unit == unit]
        if any(not _has_room(counters[index], claims[index], more) for index in chosen):
            return False
        for index in chosen:
            counters[index].insist(msgspec.structs.replace(claims[index], take=more))
            marks[index] += more
        return True

    async def reinstate(self, hold_id: str, claims: Sequence[Claim], ttl_s: float) -> None:
        now = self._now()
        if hold_id in self._settled:
            return
        expires = now + round(ttl_s * MICRO)
        hold = self._alive(hold_id, now) or ((), [], [], expires)
        asked = {_key(claim): claim for claim in claims if claim.unit != "requests"}
        known = [
            msgspec.structs.replace(claim, limit=asked.pop(_key(claim), claim).limit)
            for claim in hold[0]
        ]
        lacks = list(asked.values())
        counters = [self._current(claim, now) for claim in lacks]
        for claim, counter in zip(lacks, counters, strict=True):
            counter.insist(claim)
        marks = hold[2] + [claim.take for claim in lacks]
        held = ((*known, *lacks), hold[1] + counters, marks, max(hold[3], expires))
        self._hold(hold_id, held)

    async def settle(self, hold_id: str, claims: Sequence[Claim], actual: dict[Unit, int]) -> int:
        now = self._now()
        hold = self._alive(hold_id, now)
        past = 0
        if hold is not None:
            for claim, counter, mark in zip(hold[0], hold[1], hold[2], strict=True):
                unit = claim.unit
                if unit != "requests":
                    over = counter.settle(claim, mark, actual.get(unit, 0))
                    if over > past:  # a call of max() for each claim costs more than its rest
                        past = over
        elif hold_id in self._settled:
            return 0
        else:
            past = self._spend(claims, actual, now)
        self._settled.add(hold_id)
        return past

    async def release(self, hold_id: str) -> None:
        now = self._now()
        hold = self._alive(hold_id, now)
        if hold is not None:
            _give_back(hold[0], hold[1], hold[2], now)

    async def restore(self, spent: Iterable[tuple[str, Unit, str, int]]) -> None:
        now = self._now()
        for scope, unit, window, amount in spent:
            if unit not in TOTALS:
                continue
            counter = self._current(Claim(scope, unit, window, 0, 0), now)
            if isinstance(counter, Total):
                counter.spent = max(counter.spent, amount)

    async def statuses(self, claims: Sequence[Claim]) -> tuple[LimitStatus, ...]:
        now = self._now()
        self._sweep(now)
        return tuple(self._current(claim, now).status(claim, now) for claim in claims)

    @property
    def failing(self) -> str:
        return ""

    async def ping(self) -> None:
        return None

    async def aclose(self) -> None:
        return None

    # --- what is alive --------------------------------------------------------------------------

    def _now(self) -> int:
        return round(self._clock.time() * MICRO)

    def _current(self, claim: Claim, now: int) -> Counter:
        counter = self._counters.get((claim.scope, claim.unit, claim.window))
        if counter is None or counter.ends <= now:
            return self._open(claim, now)
        return counter

    def _open(self, claim: Claim, now: int) -> Counter:
        key = (claim.scope, claim.unit, claim.window)
        counter = KINDS[claim.unit](claim, now)
        if key not in self._counters:
            heapq.heappush(self._idle, (max(counter.idle_at(now), now + _LOOK_EVERY_US), key))
        self._counters[key] = counter
        return counter

    def _hold(self, hold_id: str, hold: _Hold) -> None:
        self._holds[hold_id] = hold
        heapq.heappush(self._expiries, (hold[3], hold_id))
        if len(self._expiries) > 2 * len(self._holds) + _SWEEP:
            self._compact()

    def _compact(self) -> None:
        """Forgets the expiries of holds that have ended. Seldom enough that each call's share
        of it is constant."""
        self._expiries = [(hold[3], hold_id) for hold_id, hold in self._holds.items()]
        heapq.heapify(self._expiries)

    def _alive(self, hold_id: str, now: int) -> _Hold | None:
        """Takes a hold out. One that has expired unnoticed is given back and is not alive."""
        hold = self._holds.pop(hold_id, None)
        if hold is not None and hold[3] <= now:
            _expire(hold)
            return None
        return hold

    def _spend(self, claims: Sequence[Claim], actual: dict[Unit, int], now: int) -> int:
        past = 0
        for claim in claims:
            if claim.unit in TOTALS:
                amount = actual.get(claim.unit, 0)
                past = max(past, self._current(claim, now).settle(claim, 0, amount))
        return past

    # --- what is over ---------------------------------------------------------------------------

    def _sweep(self, now: int) -> None:
        if self._expiries and self._expiries[0][0] <= now:
            self._drop_holds(now)
        if self._idle and self._idle[0][0] <= now:
            self._drop_counters(now)

    def _drop_holds(self, now: int) -> None:
        for _ in range(_SWEEP):
            if not self._expiries or self._expiries[0][0] > now:
                return
            expires, hold_id = heapq.heappop(self._expiries)
            hold = self._holds.get(hold_id)
            if hold is not None and hold[3] == expires:
                del self._holds[hold_id]
                _expire(hold)

    def _drop_counters(self, now: int) -> None:
        for _ in range(_SWEEP):
            if not self._idle or self._idle[0][0] > now:
                return
            _, key = heapq.heappop(self._idle)
            again = self._counters[key].idle_at(now)
            if again <= now:
                del self._counters[key]
            else:
                heapq.heappush(self._idle, (max(again, now + _LOOK_EVERY_US), key))


def _key(claim: Claim) -> _Key:
    return claim.scope, claim.unit, claim.window


def _has_room(counter: Counter, claim: Claim, more: int) -> bool:
    assert isinstance(counter, Total)
    return counter.spent + counter.held + more <= claim.limit


def _give_back(
    claims: Sequence[Claim], counters: list[Counter], marks: list[Any], now: int
) -> None:
    """Undoes what was taken: of all claims, or of the first ones when a later one was refused."""
    for claim, counter, mark in zip(claims, counters, marks, strict=False):
        counter.release(claim, mark, now)


def _expire(hold: _Hold) -> None:
    for counter, mark in zip(hold[1], hold[2], strict=True):
        counter.expire(mark)
