"""What calls and workers came to while a recording was played: seconds, dollars and promises."""

from __future__ import annotations

from collections import Counter, defaultdict

from gateway.calls.state import CallState
from gateway.policy.sections.price import Price
from gateway.replay.outcome import POINTS, Course, Outcome, quantiles
from gateway.replay.surges import Surges
from gateway.replay.traffic import Traffic
from gateway.types import NANO

_EXACTLY = 1e-5
"""Seconds: timers are late by less."""


class Steps:
    """Seconds of something in each step of the time."""

    def __init__(self, start: float, step_s: float) -> None:
        self._start, self._step_s = start, step_s
        self.seconds = [0.0] * POINTS

    def at(self, instant: float) -> int:
        """The number of the step."""
        return min(max(int((instant - self._start) / self._step_s), 0), POINTS - 1)

    def add(self, begin: float, end: float) -> None:
        """It was there between the two."""
        first, last = self.at(begin), self.at(end)
        if first == last:
            self.seconds[first] += end - begin
            return
        for step in range(first, last + 1):
            low = begin if step == first else self._start + step * self._step_s
            high = end if step == last else self._start + (step + 1) * self._step_s
            self.seconds[step] += high - low

    def means(self) -> tuple[float, ...]:
        """How many there were, on the average of each step."""
        return tuple(seconds / self._step_s for seconds in self.seconds)


class Measured:
    """Of the judged part, and the course of all of it. Instants are those of the recording."""

    def __init__(self, traffic: Traffic) -> None:
        self._traffic = traffic
        self._surges = Surges(traffic)
        start = traffic.arrivals[0].at
        self._start = start
        self._step_s = max((traffic.judged_until - start) / POINTS, 1e-6)
        self._load = Steps(start, self._step_s)
        self._overflow = Steps(start, self._step_s)
        self._nano = [0.0] * POINTS
        self._cold, self._late = [0] * POINTS, [0] * POINTS
        self._waits: list[float] = []
        self._answers: list[float] = []
        self._count: Counter[str] = Counter()
        self._overflow_s = 0.0
        self._overflow_nano = self._charged_nano = 0.0
        self.reasons: Counter[str] = Counter()
        """Calls of the judged part, by why they went where they went."""
        self.refused: Counter[str] = Counter()
        """Those that got no answer, by the error's code."""
        self.backends: Counter[str] = Counter()
        """Those that were answered, by where."""
        self.hedged = self.hedges_won = 0
        """Judged calls that a second backend was asked for, and those that it answered."""
        self.by_part: defaultdict[str, float] = defaultdict(float)
        """US dollars that platforms bill for what was judged, by what for."""

    def is_judged(self, at: float) -> bool:
        """Whether what happens then counts."""
        return self._traffic.judged_from <= at <= self._traffic.judged_until

    def call(
        self, came: float, began: float | None, ended: float, slo_s: float, *, cold: bool
    ) -> None:
        """A call that came, had its worker at ``began`` (None: it never ran), and was gone."""
        self._load.add(came, ended)
        waited_s = (ended if began is None else began) - came
        if waited_s < _EXACTLY:
            waited_s = 0.0
        late = began is None or waited_s > slo_s + _EXACTLY
        step = self._load.at(came)
        self._cold[step] += cold
        self._late[step] += late
        if not self.is_judged(came):
            return
        count = self._count
        count["calls"] += 1
        count["late"] += late
        count["cold"] += cold
        if began is not None:
            self._waits.append(waited_s)
        if self._surges.at(came):
            count["surge_calls"] += 1
            count["surge_late"] += late

    def answered(self, came: float, seconds: float) -> None:
        """It took so long until a call had its answer, or the first token of a stream."""
        if self.is_judged(came):
            self._answers.append(seconds)

    def went(self, state: CallState, code: str) -> None:
        """A judged call is over; ``code``: of the error, where it was not answered."""
        self.reasons[state.reason] += 1
        if code:
            self.refused[code] += 1
        elif state.backend is not None:
            self.backends[state.backend.name] += 1
        won = state.reason == "HEDGE" and not code
        if won or any(one.hedge for one in state.tried):
            self.hedged += 1
            self.hedges_won += won

    def worker(self, did: str, begin: float, end: float, price: Price | None) -> None:
        """A worker of a platform did something for so long: started, ran or idled."""
        self._overflow.add(begin, end)
        traffic = self._traffic
        judged_s = min(end, traffic.judged_until) - max(begin, traffic.judged_from)
        if did == "start" and begin >= traffic.judged_from:
            self._count["starts"] += 1
        if judged_s > 0:
            self._overflow_s += judged_s
        if did == "run" or price is None or did not in price.bills:
            return
        rate = price.per_second or 0
        self._nano[self._overflow.at(begin)] += rate * (end - begin)
        if judged_s > 0:
            self._overflow_nano += rate * judged_s
            self.by_part[did] += rate * judged_s / NANO

    def run(self, came: float, nano: int) -> None:
        """What a platform bills for a call's own run: time, tokens, fees."""
        self._nano[self._load.at(came)] += nano
        if self.is_judged(came):
            self._overflow_nano += nano
            self.by_part["run"] += nano / NANO

    def charged(self, at: float, nano: int) -> None:
        """A row of the ledger. The last ones are written when all is over."""
        if self.is_judged(min(at, self._traffic.judged_until)):
            self._charged_nano += nano

    @property
    def charged_usd(self) -> float:
        """What the gateway's ledger has for what the platforms bill."""
        return self._charged_nano / NANO

    @property
    def answer_s(self) -> tuple[float, float, float]:
        """Seconds until half, 95 % and 99 % of those that had one had their answer."""
        return quantiles(sorted(self._answers))

    def outcome(self, reserved_per_hour: float, reserved: int) -> Outcome:
        """Beside so many reserved workers, which cost so much together."""
        judged_s, count = self._traffic.judged_s, self._count
        return Outcome(
            calls=count["calls"],
            late=count["late"],
            cold=count["cold"],
            surge_calls=count["surge_calls"],
            surge_late=count["surge_late"],
            reserved_usd=reserved_per_hour * judged_s / 3600,
            serverless_usd=self._overflow_nano / NANO,
            reserved_gpus=float(reserved),
            serverless_gpus=self._overflow_s / judged_s,
            waits=quantiles(sorted(self._waits)),
            starts=count["starts"],
            course=self._course(reserved_per_hour, reserved),
        )

    def _course(self, reserved_per_hour: float, reserved: int) -> Course:
        each = reserved_per_hour * self._step_s / 3600
        return Course(
            start=self._start,
            step_s=self._step_s,
            judged_from=self._traffic.judged_from,
            load=self._load.means(),
            reserved=(float(reserved),) * POINTS,
            overflow=self._overflow.means(),
            cold=tuple(self._cold),
            late=tuple(self._late),
            cost=tuple(each + nano / NANO for nano in self._nano),
        )
