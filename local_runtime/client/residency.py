"""The models of one worker as its caller knows them: which are there, which come, and how long a
call would wait for one. Pure: what the worker says and ``now`` in, seconds out.

The worker alone decides what goes and what comes (``worker.models.cache``); this foresees it from
what crosses: the worker's own word, and which calls were sent to it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import msgspec

from local_runtime.client.start_times import still_to_come
from local_runtime.protocol.events import CacheStatus, ModelStatus

GUESSED_PACE = 1.0 / 1024**3
"""Seconds a byte of a load, until one was seen: a GiB a second, as a local disk gives. A guess that
is too high could keep calls away for good, so that nothing is ever learned; one that is too low
makes one call late."""

HERE, COMING, FITS, EVICTS, PAUSED = 0.0, 0.5, 1.0, 2.0, 4.0
"""How far away a model is: it is there; it is on its way; there is room for it; another must go
first; it could not be loaded, and is not tried again yet."""


class LoadTimes:
    """What loads took, of all the workers of an app, those that are gone included."""

    def __init__(self) -> None:
        self.sizes: dict[str, int] = {}
        """Every model of the app -> its bytes; empty for an app that declares none."""
        self._pinned: frozenset[str] = frozenset()
        self._seen: dict[str, float] = {}

    def declared(self, models: Iterable[ModelStatus]) -> None:
        """The app has these."""
        self.sizes.update({one.model: one.size for one in models})
        self._pinned = frozenset(one.model for one in models if one.pinned)

    def loaded(self, model: str, seconds: float) -> None:
        """A load of the model has taken so many seconds."""
        self._seen[model] = seconds

    def expected(self, model: str) -> float:
        """Seconds that a load of the model should take: what its last did; before it was seen, as
        its size is to those that were, and no longer than the longest of them."""
        seen = self._seen.get(model)
        if seen is not None:
            return seen
        if not self._seen:
            return self.sizes[model] * GUESSED_PACE
        pace = sum(self._seen.values()) / sum(self.sizes[name] for name in self._seen)
        return min(self.sizes[model] * pace, max(self._seen.values()))

    def after_start(self, model: str) -> float:
        """The same, for a worker that starts and has what is pinned alone."""
        return 0.0 if model in self._pinned else self.expected(model)


class Use(msgspec.Struct):
    """The calls of one model that were sent to a worker and have not ended."""

    calls: int = 0
    since: float = 0.0
    """When the first of them was sent."""
    run_s: float | None = None
    """Seconds that the last one that ended well ran."""

    def left(self, slots: int, now: float) -> float:
        """Seconds until they have ended, so many at once. While none has, how long they are under
        way is the best guess."""
        rounds = math.ceil(self.calls / max(slots, 1))
        return rounds * (now - self.since if self.run_s is None else self.run_s)


class Residency:
    """The models of one worker."""

    def __init__(self, times: LoadTimes) -> None:
        self._times = times
        self._models: dict[str, ModelStatus] = {}
        self._uses: dict[str, Use] = {}
        self._loading: tuple[ModelStatus, float] | None = None
        """Which is loaded now, and since when."""
        self._paused_until: dict[str, float] = {}
        self._room: float = 0

    def update(self, status: CacheStatus, now: float) -> None:
        """Takes over what the worker says."""
        self._times.declared(status.models)
        for one in status.models:
            before = self._models.get(one.model)
            if one.loads > (before.loads if before else 0):
                self._times.loaded(one.model, one.load_s)
            if before is not None and one.failures > before.failures:
                self._paused_until[one.model] = now + one.pause_s
        self._models = {one.model: one for one in status.models}
        taken = sum(one.size for one in status.models if one.state != "out")
        self._room = status.capacity - taken if status.capacity else math.inf
        self._track_load(now)

    def call_sent(self, model: str, now: float) -> None:
        """A call that names the model was sent."""
        if model in self._models:
            use = self._uses.setdefault(model, Use())
            use.since = use.since if use.calls else now
            use.calls += 1

    def call_ended(self, model: str, run_s: float | None) -> None:
        """A call that names the model has ended; ``run_s``: seconds that it ran, of one that ended
        well."""
        if (use := self._uses.get(model)) is not None:
            use.calls -= 1
            use.run_s = use.run_s if run_s is None else run_s

    def distance(self, model: str, now: float) -> float:
        """How far away the model is: HERE, COMING, FITS, EVICTS or PAUSED."""
        one = self._models.get(model)
        if one is None or one.state == "in":
            return HERE
        if self.is_awaited(model):
            return COMING
        if self._is_paused(model, now):
            return PAUSED
        return FITS if one.size <= self._room else EVICTS

    def is_awaited(self, model: str) -> bool:
        """Calls wait for the model: it is loaded now, or will be."""
        one = self._models.get(model)
        return one is not None and (one.state == "loading" or self._is_wanted(one))

    def load_in(self, model: str, slots: int, now: float) -> float | None:
        """Seconds until the model is there for a call sent now: 0 where it is, or is none of the
        app's; None where the call would be refused, since its last load failed. ``slots``: calls
        that the worker runs at once."""
        one = self._models.get(model)
        if one is None or one.state == "in":
            return 0.0
        if one.state == "loading":
            return self._left(now)
        if self._is_paused(model, now):
            return None
        before = self._wanted_before(one)
        loads = sum(self._times.expected(each.model) for each in (*before, one))
        return self._left(now) + loads + self._until_room(one, before, slots, now)

    def _track_load(self, now: float) -> None:
        found = next((one for one in self._models.values() if one.state == "loading"), None)
        if found is None:
            self._loading = None
        elif self._loading is None or self._loading[0].model != found.model:
            self._loading = found, now

    def _left(self, now: float) -> float:
        """Of the load that goes on."""
        if self._loading is None:
            return 0.0
        one, since = self._loading
        return still_to_come(self._times.expected(one.model), now - since)

    def _is_paused(self, model: str, now: float) -> bool:
        return now < self._paused_until.get(model, 0.0)

    def _is_wanted(self, one: ModelStatus) -> bool:
        """Calls wait for it."""
        use = self._uses.get(one.model)
        return one.state == "out" and use is not None and use.calls > 0

    def _wanted_before(self, one: ModelStatus) -> list[ModelStatus]:
        """What is loaded before it: first wanted, first loaded."""
        since = self._uses[one.model].since if self._is_wanted(one) else math.inf
        return [
            each
            for name, use in self._uses.items()
            if self._is_wanted(each := self._models[name]) and use.since < since
        ]

    def _until_room(
        self, one: ModelStatus, before: list[ModelStatus], slots: int, now: float
    ) -> float:
        """Seconds that the model, and those before it, wait for calls under way on what must go:
        idle ones go first, and of the others those whose calls end soonest, at the least."""
        need = sum(each.size for each in before) + one.size - self._room
        if need <= 0:
            return 0.0
        waits = sorted(
            (self._busy(each.model, slots, now), each.size)
            for each in self._models.values()
            if not each.pinned and (each.state != "out" or each in before) and each is not one
        )
        longest = 0.0
        for wait, size in waits:
            if need <= 0:
                break
            longest, need = wait, need - size
        return longest

    def _busy(self, model: str, slots: int, now: float) -> float:
        use = self._uses.get(model)
        return use.left(slots, now) if use is not None and use.calls else 0.0
