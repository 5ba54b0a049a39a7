"""The shared store of a gateway that is one process: plain dictionaries on one event loop.

No method awaits, so each is atomic; there is no lock and no task. What is over is dropped in
passing: each call frees a bounded number of expired holds and of counters that say nothing any
more, so memory follows the holds that are alive and the scopes that are in use.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence

import msgspec

from adapters.base import Clock
from gateway.storage.base import (
    Admitted,
    Claim,
    Counted,
    LimitStatus,
    Refused,
    StorageUnavailable,
    WindowSpent,
)
from gateway.storage.claims import CallClaims, ClaimTemplate, surplus_of, with_take
from gateway.storage.counter_set import CounterSet, Marks, Takes, joined
from gateway.storage.counters import TOTALS, Counter, Total, counter_of
from gateway.storage.rolling import Rolling
from gateway.types import MICRO, Unit

_Key = tuple[str, Unit, str]
_Hold = tuple[CounterSet, Takes, Marks, int, int]
"""(what it is held in, how much in each, where its rates stood, when it expires, how many
nano-dollars of it will probably come back). A tuple because it is made on every call and a tuple is
the cheapest record."""

_LOOK_EVERY_US = 10 * MICRO
"""A counter that says nothing any more is dropped this much later at the most: one that is used
again at once must not be made anew for every call."""

_SWEEP = 64
"""The most holds, and the most counters, that one call drops."""

_SETS = 4096
"""The most callers whose counters are known without looking."""


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
        self._sets: dict[ClaimTemplate, CounterSet] = {}
        self._holds: dict[str, _Hold] = {}
        self._settled = _Remembered(remember)
        self._expiries: list[tuple[int, str]] = []
        self._idle: list[tuple[int, _Key]] = []
        self._dropped = 0
        """Counters that said nothing any more."""

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
        found, takes, surplus = self._found(claims, now)
        marks = found.take(takes, now)
        if marks is None:
            return found.refused(claims, now)
        if surplus:
            found.expect(surplus)
        self._hold(hold_id, (found, takes, marks, now + int(ttl_s * MICRO), surplus))
        return Admitted(found.statuses(now))

    async def extend(self, hold_id: str, unit: Unit, more: int) -> bool:
        if unit not in TOTALS:
            raise ValueError(f"{unit} is not held in amounts")
        hold, now = self._holds.get(hold_id), self._now()
        if hold is None or hold[3] <= now:
            raise StorageUnavailable(f"{hold_id} is not held any more")
        found, takes, *_ = carried = self._carried(hold, unit, more, now)
        fits = found.extend(takes, unit, more, now)
        if fits and carried is not hold:
            self._holds[hold_id] = carried
        return fits

    def _carried(self, hold: _Hold, unit: Unit, more: int, now: int) -> _Hold:
        """The same hold, which may hold more of the unit in the windows of now as well."""
        found, takes, marks, until, surplus = hold
        ended = tuple([with_take(claim, 0) for claim in found.ended(unit, more, now)])
        if not ended:
            return hold
        counters = [self._current(claim, now) for claim in ended]
        carried = joined((*found.held(takes), *ended), (*found.counters, *counters))
        marks = marks + CounterSet(ended, counters).marks_of_others(now)
        return carried, carried.own_takes, marks, until, surplus

    async def reinstate(self, hold_id: str, claims: Sequence[Claim], ttl_s: float) -> None:
        now = self._now()
        if hold_id in self._settled:
            return
        expires = now + round(ttl_s * MICRO)
        new: _Hold = (CounterSet((), ()), [], [], expires, surplus_of(claims))
        found, takes, marks, until, surplus = self._alive(hold_id, now) or new
        found.expect(-surplus)
        asked = {_key(claim): claim for claim in claims if claim.unit != "requests"}
        held = found.held(takes)
        known = [
            msgspec.structs.replace(claim, limit=asked.get(_key(claim), claim).limit)
            for claim in held
        ]
        had = set(map(_key, held))
        lacks = [claim for key, claim in asked.items() if key not in had]
        counters = [self._current(claim, now) for claim in lacks]
        for claim, counter in zip(lacks, counters, strict=True):
            counter.insist(claim)
        merged = joined((*known, *lacks), (*found.counters, *counters))
        marks = marks + CounterSet(tuple(lacks), counters).marks_of_others(now)
        merged.expect(surplus)
        self._hold(hold_id, (merged, merged.own_takes, marks, max(until, expires), surplus))

    async def settle(self, hold_id: str, claims: Sequence[Claim], actual: dict[Unit, int]) -> int:
        now = self._now()
        hold = self._alive(hold_id, now)
        if hold is not None:
            if hold[4]:
                hold[0].expect(-hold[4])
            past = hold[0].settle(hold[1], hold[2], actual)
        elif hold_id in self._settled:
            return 0
        else:
            past = self._spend(claims, actual, now)
        self._settled.add(hold_id)
        return past

    fills = 0

    async def settle_written(
        self, hold_id: str, claims: Sequence[Claim], actual: dict[Unit, int], fills: int
    ) -> int:
        return await self.settle(hold_id, claims, actual)

    async def release(self, hold_id: str) -> None:
        now = self._now()
        hold = self._alive(hold_id, now)
        if hold is not None:
            hold[0].expect(-hold[4])
            hold[0].release(hold[1], hold[2], now)

    async def restore(self, spent: Iterable[Counted]) -> None:
        now = self._now()
        for one in spent:
            counter = self._current(Claim(one.scope, one.unit, one.window, 0, 0), now)
            if isinstance(counter, (Total, Rolling)):
                counter.learn(one.amount, one.at)

    async def statuses(self, claims: Sequence[Claim]) -> tuple[LimitStatus, ...]:
        now = self._now()
        self._sweep(now)
        return tuple(self._current(claim, now).status(claim, now) for claim in claims)

    async def spent(self, claims: Sequence[Claim]) -> tuple[WindowSpent, ...]:
        now = self._now()
        counters = [(claim, self._current(claim, now)) for claim in claims]
        return tuple(
            WindowSpent(claim, counter.spent_at(now), counter.told_until(now))
            for claim, counter in counters
            if isinstance(counter, (Total, Rolling))
        )

    @property
    def failing(self) -> str:
        return ""

    @property
    def degraded(self) -> str:
        return ""

    async def ping(self) -> None:
        return None

    async def aclose(self) -> None:
        return None

    # --- what is alive --------------------------------------------------------------------------

    def _now(self) -> int:
        return int(self._clock.time() * MICRO + 0.5)  # round() costs several times as much

    def _found(self, claims: Sequence[Claim], now: int) -> tuple[CounterSet, Takes, int]:
        """The counters of what a call claims, what it takes of them, and the nano-dollars of that
        which will probably come back."""
        if not isinstance(claims, CallClaims):
            counters = [self._current(claim, now) for claim in claims]
            found = CounterSet(tuple(claims), counters)
            return found, found.own_takes, surplus_of(claims)
        known = self._sets.get(claims.template)
        if (
            known is None
            or known.ends <= now
            or not (known.stood_at == self._dropped or known.stands(self._dropped))
        ):
            known = self._find(claims.template, now)
        takes = known.takes(claims.nano_usd, claims.gpu_us, claims.rest)
        return known, takes, claims.surplus

    def _find(self, template: ClaimTemplate, now: int) -> CounterSet:
        if len(self._sets) >= _SETS:
            self._sets.clear()
        counters = [self._current(claim, now) for claim in template.limits]
        found = self._sets[template] = CounterSet(template.limits, counters, template.shown)
        return found

    def _current(self, claim: Claim, now: int) -> Counter:
        counter = self._counters.get((claim.scope, claim.unit, claim.window))
        if counter is None or counter.ends <= now:
            return self._open(claim, now)
        return counter

    def _open(self, claim: Claim, now: int) -> Counter:
        key = (claim.scope, claim.unit, claim.window)
        counter = counter_of(claim, now)
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
        totals = tuple(claim for claim in claims if claim.unit in TOTALS)
        found = CounterSet(totals, [self._current(claim, now) for claim in totals])
        return found.settle([0] * len(totals), found.marks_of_others(now), actual)

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
            counter = self._counters[key]
            again = counter.idle_at(now)
            if again <= now:
                counter.ends = 0
                self._dropped += 1
                del self._counters[key]
            else:
                heapq.heappush(self._idle, (max(again, now + _LOOK_EVERY_US), key))


def _key(claim: Claim) -> _Key:
    return claim.scope, claim.unit, claim.window


def _expire(hold: _Hold) -> None:
    hold[0].expect(-hold[4])
    hold[0].expire(hold[1])
