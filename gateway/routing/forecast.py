"""How long a call would wait and run at a backend: learned numbers and pure predictions."""

from __future__ import annotations

import bisect
import math
import operator

import msgspec

_ALPHA = 0.1
"""Weight of the newest observation in a moving mean."""
_KEPT = 60
"""Cold starts remembered; older ones say little about today's platform."""
_PRIOR_WEIGHT = 10
"""The prior counts as this many observed cold starts."""


class RunTime(msgspec.Struct, frozen=True, gc=False):
    """Seconds a call runs: a moving mean and mean deviation, from a prior."""

    mean: float
    deviation: float
    seen: int = 0

    @classmethod
    def prior(cls, seconds: float) -> RunTime:
        """What is taken for granted before the first call."""
        return cls(seconds, seconds / 2)

    def observe(self, seconds: float) -> RunTime:
        """With one call more, which ran ``seconds``; the first replaces the prior."""
        if not self.seen:
            return RunTime(seconds, seconds / 2, 1)
        error = seconds - self.mean
        return RunTime(
            self.mean + _ALPHA * error,
            self.deviation + _ALPHA * (abs(error) - self.deviation),
            self.seen + 1,
        )

    @property
    def high(self) -> float:
        """Seconds that few calls exceed: the mean and four mean deviations (TCP's rule for its
        retransmission timer, RFC 6298)."""
        return self.mean + 4 * self.deviation

    @property
    def low(self) -> float:
        """Seconds that few calls undercut, by the same rule; a tenth of the mean where they are too
        uneven to say."""
        return max(self.mean - 4 * self.deviation, self.mean / 10)


class ColdTime:
    """Seconds a cold worker takes: the observed ones beside a prior given as p50 and p95."""

    def __init__(self, p50: float, p95: float) -> None:
        self._prior = [_prior_quantile(p50, p95, (n + 0.5) / _PRIOR_WEIGHT) for n in range(10)]
        self._seen: list[float] = []
        self.p50, self.p95 = p50, p95

    @property
    def samples(self) -> list[float]:
        """Starts that stand for all, seconds each: those seen and those taken for granted."""
        return self._seen + self._prior

    def observe(self, seconds: float) -> None:
        """One start more, which took ``seconds``."""
        self._seen = [*self._seen[-_KEPT + 1 :], seconds]
        ranked = sorted(self._seen + self._prior)
        self.p50, self.p95 = _quantile(ranked, 0.5), _quantile(ranked, 0.95)


def _prior_quantile(p50: float, p95: float, share: float) -> float:
    """A log-normal with the given median and 95th percentile, at ``share``."""
    if p50 <= 0 or p95 <= p50:
        return p50
    sigma = math.log(p95 / p50) / 1.645
    return p50 * math.exp(sigma * _normal_quantile(share))


def _normal_quantile(share: float) -> float:
    """The standard normal's quantile to 3 digits, by its logistic approximation."""
    return math.log(share / (1 - share)) / 1.702


def _quantile(ranked: list[float], share: float) -> float:
    position = share * (len(ranked) - 1)
    low = int(position)
    high = min(low + 1, len(ranked) - 1)
    return ranked[low] + (ranked[high] - ranked[low]) * (position - low)


class BackendLoad(msgspec.Struct, frozen=True, gc=False):
    """A backend's work at one instant, as far as the gateway knows."""

    in_flight: int
    """Calls sent or waiting to be sent."""
    slots: int | None
    """Calls it runs at once; ``None``: as many as it likes."""
    warm_idle: int
    """Workers believed warm and idle; only of backends that can be cold."""
    starting_s: float | None
    """How long ago the oldest worker that is still starting was asked for."""
    ready_in_s: float = 0.0
    """Of a backend that starts its own workers: until one should be ready, by what its starts
    took."""
    load_s: float = 0.0
    """Until the call's model should be in a worker's memory; 0 where it is, and of backends that
    have one model alone."""
    tail_s: float = 0.0
    """Seconds that a worker will wait after the call, where these are billed; less what it would
    wait without it."""
    round_trip_s: float = 0.0
    """To the backend and back; 0 where it is near, or nobody knows."""
    start_is_guess: bool = False
    """``ready_in_s`` is: none of its starts was seen yet."""


class Delay(msgspec.Struct, frozen=True, gc=False):
    """What a call waits for at one backend, in seconds."""

    seconds: float
    """From the decision until the call runs."""
    cold_s: float = 0.0
    """Of these, what a worker's start and the model's load take."""
    load_s: float = 0.0
    """Of these, the load alone."""
    way_s: float = 0.0
    """Of these, what the way to the backend and back takes."""

    @property
    def cold(self) -> bool:
        """The call would wait for a start, or for a load."""
        return self.cold_s > 0


NO_DELAY = Delay(0.0)


def with_load(delay: Delay, load_s: float) -> Delay:
    """The same for a call whose model must be loaded first. Calls whose models are there go on
    meanwhile, and as many as before it now are before it when its model has come: the two add
    up."""
    return Delay(delay.seconds + load_s, delay.cold_s + load_s, load_s)


def with_reading(delay: Delay, seconds: float) -> Delay:
    """The same for a call that begins with so much to read that is kept elsewhere."""
    return Delay(delay.seconds + seconds, delay.cold_s, delay.load_s, delay.way_s)


def with_way(delay: Delay, round_trip_s: float) -> Delay:
    """The same for a call to a backend that is so far away."""
    return Delay(delay.seconds + round_trip_s, delay.cold_s, delay.load_s, round_trip_s)


def warm_delay(load: BackendLoad, run_s: float) -> Delay:
    """A backend that is always warm: nothing while a slot is free, then the line as it flows off
    through all slots; behind the start of a worker, while it has none."""
    if load.ready_in_s:
        return Delay(load.ready_in_s + load.in_flight * run_s, load.ready_in_s)
    if load.slots is None or load.in_flight < load.slots:
        return NO_DELAY
    return Delay(_in_line(load.in_flight, load.slots, run_s))


def _in_line(in_flight: int, slots: int, run_s: float) -> float:
    """Seconds until a slot is free for a call that comes after so many. Runs end one by one and not
    in rounds, so that ``slots`` of them bring one forward every ``run_s / slots`` seconds."""
    return (in_flight - slots + 1) * run_s / max(slots, 1)


def cold_delay(load: BackendLoad, run_s: float, cold_p95: float) -> Delay:
    """A backend that scales from zero: a warm worker, else the sooner of a fresh one and a place
    behind those at work; a worker that is already starting is joined."""
    if load.warm_idle > 0:
        return NO_DELAY
    in_flight, slots = load.in_flight, load.slots
    behind = _behind(load, run_s, cold_p95) if in_flight else math.inf
    if cold_p95 <= behind and (slots is None or in_flight < slots):
        return Delay(cold_p95, cold_p95)
    return Delay(behind)


def _behind(load: BackendLoad, run_s: float, cold_p95: float) -> float:
    in_flight, slots, starting_s = load.in_flight, load.slots, load.starting_s
    workers = slots if slots and slots < in_flight else in_flight
    behind = (in_flight - workers + 1) * run_s / workers
    if starting_s is not None and starting_s < cold_p95:
        behind += cold_p95 - starting_s
    return behind


_instant = operator.itemgetter(0)


class WarmSet:
    """The workers of a backend that are believed warm and idle, by when each goes cold.

    A platform reuses the worker that was busy last, so takes come from the warmest end.
    """

    def __init__(self, idle_timeout: float) -> None:
        self.idle_timeout = idle_timeout
        self._waits: dict[str, float] = {}
        """Worker-seconds by the user of the call before."""
        self._tail_s = idle_timeout
        """What a worker waits after its call, in the mean; the longest, before any was seen."""
        self._cold_at: list[tuple[float, str]] = []
        """With the user of the call that each has ended."""

    def idle(self, now: float) -> int:
        """How many are warm and idle at ``now``."""
        expired = bisect.bisect_right(self._cold_at, now, key=_instant)
        if expired:
            for _, user in self._cold_at[:expired]:
                self._add(user, self.idle_timeout)
            del self._cold_at[:expired]
            kept = (1 - _ALPHA) ** expired
            self._tail_s = kept * self._tail_s + (1 - kept) * self.idle_timeout
        return len(self._cold_at)

    def tail_s(self, now: float) -> float:
        """Worker-seconds of waiting that a call adds which is sent there at ``now``: the mean after
        its run, less what the worker that it takes would have waited without it."""
        if not self._cold_at:
            return self._tail_s
        return max(0.0, self._tail_s - max(0.0, self._cold_at[-1][0] - now))

    def take(self, now: float) -> bool:
        """A call goes to the warmest worker; False when there is none."""
        if not self.idle(now):
            return False
        cold_at, user = self._cold_at.pop()
        waited_s = max(0.0, self.idle_timeout - (cold_at - now))
        self._add(user, waited_s)
        self._tail_s += _ALPHA * (waited_s - self._tail_s)
        return True

    def _add(self, user: str, seconds: float) -> None:
        self._waits[user] = self._waits.get(user, 0.0) + seconds

    def take_waits(self) -> dict[str, float]:
        """Worker-seconds in which they waited for calls, by the user of the call before, since they
        were taken last; of waits that go on, nothing."""
        waits, self._waits = self._waits, {}
        return waits

    def give_up(self) -> None:
        """Nobody looks at them any more: those which wait now will have waited when their platform
        takes them down."""
        for _, user in self._cold_at:
            self._add(user, self.idle_timeout)
        self._cold_at.clear()

    def give(self, now: float, user: str = "") -> None:
        """A worker ended its call, which was the user's, and waits."""
        bisect.insort(self._cold_at, (now + self.idle_timeout, user))

    def clear(self, now: float) -> None:
        """None is warm any more; each has waited until now at the longest."""
        for cold_at, user in self._cold_at:
            self._add(user, min(self.idle_timeout, self.idle_timeout - (cold_at - now)))
        self._cold_at.clear()
