"""The counters of one call's claims, taken from and given back to as one. Pure: time is passed in.

A principal's calls all claim from the same counters, so that a store finds them once and passes
over them in two loops: one sees whether there is room in all of them, one takes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from gateway.storage.base import Claim, LimitStatus, Refused
from gateway.storage.claims import with_take
from gateway.storage.counters import PAID, Counter, Gauge, Rate, Total
from gateway.storage.rolling import Rolling
from gateway.types import MICRO, Unit

Takes = list[int]
"""What is held in each of ``CounterSet.totals``, in their order, then in each of ``others``."""
_Key = tuple[str, Unit, str]
Marks = list[tuple[int, int]]
"""Where each of ``CounterSet.rates`` stood after the call: microseconds, and parts of one; then the
step of each of ``others`` in which it was admitted, and nothing."""


class CounterSet:
    """``claims`` and the counter of each. What belongs to a hold (``takes`` and ``marks``) is the
    store's to keep."""

    __slots__ = (
        "claims",
        "counters",
        "ends",
        "gauges",
        "limits",
        "money",
        "of_money",
        "others",
        "own_takes",
        "paid",
        "rates",
        "shown",
        "stood_at",
        "timed",
        "totals",
        "undated",
    )

    def __init__(
        self,
        claims: tuple[Claim, ...],
        counters: Sequence[Counter],
        shown: frozenset[str] | None = None,
    ) -> None:
        """``shown``: the scopes whose rates are told; None: all of them."""
        pairs = list(zip(claims, counters, strict=True))
        self.claims = claims
        self.counters = tuple(counters)
        self.rates = [
            (one, claim, *divmod(claim.take * one.length, claim.limit))
            for claim, one in pairs
            if isinstance(one, Rate)
        ]
        """With what a claim adds where nothing is owed: microseconds, and parts of one."""
        self.gauges = [
            (one, claim.limit, claim.take) for claim, one in pairs if isinstance(one, Gauge)
        ]
        dated = [
            (claim, one) for claim, one in pairs if isinstance(one, Total) and claim.unit in PAID
        ]
        dated.sort(key=lambda pair: pair[0].unit != "nano_usd")
        self.totals = [one for _, one in dated]
        """Those of money first."""
        self.limits = [claim.limit for claim, _ in dated]
        """Of the totals."""
        self.money = sum(claim.unit == "nano_usd" for claim, _ in dated)
        """How many these are."""
        self.paid, self.timed = self.totals[: self.money], self.totals[self.money :]
        """The totals of money, and those of device time."""
        ours = {id(one) for _, one in dated}
        self.others = [
            (one, claim)
            for claim, one in pairs
            if isinstance(one, (Total, Rolling)) and id(one) not in ours
        ]
        """Of other units, and of rolling windows."""
        self.of_money: list[Total | Rolling] = [
            *self.paid,
            *(one for one, claim in self.others if claim.unit == "nano_usd"),
        ]
        """Of all kinds of windows."""
        self.own_takes = [claim.take for claim, _ in dated]
        self.own_takes += [claim.take for _, claim in self.others]
        self.shown = [pair[:2] for pair in self.rates if shown is None or pair[1].scope in shown]
        self.undated = [one for one in counters if not isinstance(one, Total)]
        self.ends = min([one.ends for one in counters if isinstance(one, Total)], default=1 << 62)
        self.stood_at = -1
        """How many counters the store had dropped when these were last seen to be in use."""

    def stands(self, dropped: int) -> bool:
        """Whether no other counter has taken the place of one of these, but for those that end at a
        time. ``dropped``: how many the store has dropped by now."""
        if not all(counter.ends for counter in self.undated):
            return False
        self.stood_at = dropped
        return True

    def takes(self, nano_usd: int, gpu_us: int, rest: Mapping[Unit, int]) -> Takes:
        """Of a call that holds as much in each scope."""
        money = self.money
        takes = [nano_usd] * money + [gpu_us] * (len(self.totals) - money)
        if self.others:
            amounts = {"nano_usd": nano_usd, "gpu_us": gpu_us, **rest}
            takes += [amounts.get(claim.unit, 0) for _, claim in self.others]
        return takes

    def held(self, takes: Takes) -> list[Claim]:
        """The claims, with what is held of each."""
        counters = [*self.totals, *(one for one, _ in self.others)]
        known = {id(one): take for one, take in zip(counters, takes, strict=True)}
        return [
            with_take(claim, known.get(id(counter), claim.take))
            for claim, counter in zip(self.claims, self.counters, strict=True)
        ]

    def expect(self, surplus: int) -> None:
        """So many nano-dollars more of what is held will probably come back; fewer, below 0."""
        for counter in self.of_money:
            counter.surplus += surplus

    # --- a hold -------------------------------------------------------------------------------

    def take(self, takes: Takes, now: int) -> Marks | None:
        """Takes all, or nothing where one has no room: then None."""
        marks: Marks = []
        for rate, claim, us, part in self.rates:
            if rate.us < now:  # nothing is owed, and one request alone fits into any limit
                marks.append((now + us, part))
                continue
            mark = rate.after(claim, now)
            room = now + rate.length - mark[0]
            if room <= 0 and (room or mark[1]):
                return None
            marks.append(mark)
        if self.others and not self._others_fit(takes, now):
            return None
        for gauge, limit, one in self.gauges:
            alive = gauge.alive + one
            if alive > limit:
                self._take_back(takes, gauge)
                return None
            gauge.alive = alive
        for total, limit, take in zip(self.totals, self.limits, takes):  # noqa: B905
            held = total.held + take
            if total.spent + held > limit:
                self._take_back(takes, total)
                return None
            total.held = held
        for counted, mark in zip(self.rates, marks):  # noqa: B905 - strict makes a dict first
            rate = counted[0]
            rate.us, rate.part = mark
        if self.others:
            self._take_others(takes, 1)
            marks += self.marks_of_others(now)
        return marks

    def _takes_of_others(self, takes: Takes) -> Takes:
        return takes[len(self.totals) :]

    def _others_fit(self, takes: Takes, now: int) -> bool:
        amounts = self._takes_of_others(takes)
        return all(
            counter.has_room(take, claim.limit, now)
            for (counter, claim), take in zip(self.others, amounts, strict=True)
        )

    def _take_others(self, takes: Takes, sign: int) -> None:
        for (counter, _), take in zip(self.others, self._takes_of_others(takes), strict=True):
            counter.held += sign * take

    def marks_of_others(self, now: int) -> Marks:
        """Of a call that is admitted at ``now``."""
        return [(counter.step_at(now), 0) for counter, _ in self.others]

    def _take_back(self, takes: Takes, full: Gauge | Total) -> None:
        """From the gauges and totals before the one that has no room."""
        for gauge, _, one in self.gauges:
            if gauge is full:
                return
            gauge.alive -= one
        for total, take in zip(self.totals, takes, strict=False):
            if total is full:
                return
            total.held -= take

    def refused(self, claims: Sequence[Claim], now: int) -> Refused:
        """What is told where ``take`` took nothing; ``claims`` are those of the call."""
        for claim, counter in zip(claims, self.counters, strict=True):
            if not counter.fits(claim, now):
                wait = counter.retry_after_us(claim, now)
                return Refused(counter.status(claim, now), wait / MICRO)
        raise AssertionError("there was room for every claim")

    def statuses(self, now: int) -> tuple[LimitStatus, ...]:
        """Of the rates that are told."""
        statuses = []
        for rate, claim in self.shown:  # a comprehension is a function of its own
            statuses.append(rate.status(claim, now))
        return tuple(statuses)

    def extend(self, takes: Takes, unit: Unit, more: int, now: int) -> bool:
        """Holds more of a unit, in each scope or in none."""
        chosen = [
            (index, counter, limit)
            for index, (counter, limit, of) in enumerate(self._amounts())
            if of == unit and self._grows(counter)
        ]
        if not all(counter.has_room(more, limit, now) for _, counter, limit in chosen):
            return False
        for index, counter, _ in chosen:
            counter.held += more
            takes[index] += more
        return True

    def ended(self, unit: Unit, more: int, now: int) -> list[Claim]:
        """The claims of a unit whose windows are over, and have no room for more."""
        return [
            claim
            for claim, counter in zip(self.claims, self.counters, strict=True)
            if claim.unit == unit
            and isinstance(counter, Total)
            and counter.ends <= now
            and self._grows(counter)
            and not counter.has_room(more, claim.limit, now)
        ]

    def _grows(self, counter: Counter) -> bool:
        """Whether what is held more is held there."""
        return True

    def _amounts(self) -> Iterator[tuple[Total | Rolling, int, Unit]]:
        """(counter, limit, unit) of each of the takes."""
        for index, (total, limit) in enumerate(zip(self.totals, self.limits, strict=True)):
            yield total, limit, "nano_usd" if index < self.money else "gpu_us"
        for counter, claim in self.others:
            yield counter, claim.limit, claim.unit

    def settle(self, takes: Takes, marks: Marks, actual: Mapping[Unit, int]) -> int:
        """The call has ended and used so much. Returns the nano-dollars that lie past a limit."""
        nano_usd, gpu_us = actual.get("nano_usd", 0), actual.get("gpu_us", 0)
        past = self._settle_others(takes, marks, actual) if self.others else 0
        for total, limit, take in zip(self.paid, self.limits, takes):  # noqa: B905
            total.held -= take
            spent = total.spent = total.spent + nano_usd
            if spent > limit:
                past = max(past, min(spent - limit, nano_usd))
        for total, take in zip(self.timed, takes[self.money :]):  # noqa: B905
            total.held -= take
            total.spent += gpu_us
        for gauge, _, one in self.gauges:
            gauge.alive -= one
        return past

    def _settle_others(self, takes: Takes, marks: Marks, actual: Mapping[Unit, int]) -> int:
        past = 0
        steps = marks[len(self.rates) :]
        amounts = self._takes_of_others(takes)
        for (counter, claim), take, (step, _) in zip(self.others, amounts, steps, strict=True):
            counter.held -= take
            used = actual.get(claim.unit, 0)
            counter.spend(used, step)
            if claim.unit == "nano_usd" and counter.spent > claim.limit:
                past = max(past, min(counter.spent - claim.limit, used))
        return past

    def expire(self, takes: Takes) -> None:
        """Nobody ended the call in time."""
        for total, take in zip(self.totals, takes, strict=False):
            total.held -= take
        if self.others:
            self._take_others(takes, -1)
        for gauge, _, one in self.gauges:
            gauge.alive -= one

    def release(self, takes: Takes, marks: Marks, now: int) -> None:
        """The call has not been."""
        self.expire(takes)
        for (rate, claim, *_), mark in zip(self.rates, marks, strict=False):
            rate.release(claim, mark[0], now)


class CarriedSet(CounterSet):
    """The same of a call that holds more in later windows than in that in which it was admitted:
    such a claim is there once more for each of these, the earlier first."""

    __slots__ = ("_over",)

    def __init__(self, claims: tuple[Claim, ...], counters: Sequence[Counter]) -> None:
        super().__init__(claims, counters)
        pairs = list(zip(map(_key, claims), counters, strict=True))
        last, first = dict(pairs), dict(reversed(pairs))
        self._over = {id(counter) for key, counter in pairs if last[key] is not counter}
        """Counters that others follow."""
        firsts = {id(counter) for counter in first.values()}
        self.of_money = [counter for counter in self.of_money if id(counter) in firsts]

    def _grows(self, counter: Counter) -> bool:
        return id(counter) not in self._over

    def settle(self, takes: Takes, marks: Marks, actual: Mapping[Unit, int]) -> int:
        """A window has no more of what was used than was held in it, where another follows; the
        last one has the rest."""
        past, rests = 0, dict[_Key, int]()
        steps = {
            id(counter): step
            for (counter, _), (step, _) in zip(self.others, marks[len(self.rates) :], strict=True)
        }
        for claim, counter in zip(self.held(takes), self.counters, strict=True):
            if not isinstance(counter, (Total, Rolling)):
                continue
            used = rests.get(_key(claim), actual.get(claim.unit, 0))
            if id(counter) in self._over:
                rests[_key(claim)] = max(0, used - claim.take)
                used = min(used, claim.take)
            counter.held -= claim.take
            counter.spend(used, steps.get(id(counter), 0))
            if claim.unit == "nano_usd" and counter.spent > claim.limit:
                past = max(past, min(counter.spent - claim.limit, used))
        for gauge, _, one in self.gauges:
            gauge.alive -= one
        return past


def joined(claims: tuple[Claim, ...], counters: Sequence[Counter]) -> CounterSet:
    """The counters of a call that holds in more of them than it was admitted in."""
    is_carried = len(set(map(_key, claims))) < len(claims)
    return (CarriedSet if is_carried else CounterSet)(claims, counters)


def _key(claim: Claim) -> _Key:
    return claim.scope, claim.unit, claim.window
