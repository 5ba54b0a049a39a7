"""Which models are in a worker's memory, which come in, and which go out for them. Pure.

The memory of each model is declared. A model is loaded when a call wants it; where there is no room
the least worthy go, by GreedyDual-Size with frequency: when a model is used its worth becomes

    clock + uses since it was loaded * seconds that its load took / its size

and the clock rises to the worth of what was evicted, so what is not used any more grows old. (Cao
and Irani, Cost-Aware WWW Proxy Caching Algorithms, USITS 1997,
https://www.usenix.org/legacy/publications/library/proceedings/usits97/cao.html; with frequency:
Cherkasova, HP Laboratories, HPL-98-69R1, 1998.)

Pinned models never go, and none goes while a call uses it: where room can only be made by models in
use, the least worthy of these take no new calls until those under way have ended, so that no model
waits for ever behind a busy one.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from enum import Enum

import msgspec

from local_runtime.app.model_sizes import ModelSizes, misfit

_GIB = 1024.0**3


class ModelState(Enum):
    """Where a model is."""

    OUT = "out"
    LOADING = "loading"
    IN = "in"
    LEAVING = "leaving"
    """It is in and takes no new calls: it goes when those under way have ended."""


class LoadModel(msgspec.Struct, frozen=True):
    """Load this model: its room is free."""

    model: str


class UnloadModel(msgspec.Struct, frozen=True):
    """Unload this model: no call uses it."""

    model: str


Step = LoadModel | UnloadModel


class DoesNotFit(ValueError):
    """A declared model can never be loaded."""


class CachedModel:
    """One model, in memory or out of it."""

    __slots__ = (
        "evictions",
        "failures",
        "hits",
        "load_s",
        "loads",
        "name",
        "pinned",
        "size",
        "state",
        "users",
        "worth",
    )

    def __init__(self, name: str, declared: ModelSizes) -> None:
        self.name = name
        self.size = declared.memory
        self.pinned = declared.pin
        self.state = ModelState.OUT
        self.users = 0
        """Calls that have it: queued or running."""
        self.hits = 0
        """Calls since it was loaded."""
        self.worth = 0.0
        self.load_s = 0.0
        """Seconds that its last load took."""
        self.loads = self.evictions = self.failures = 0

    @property
    def cost(self) -> float:
        """Seconds of load for each GiB."""
        return self.load_s * _GIB / self.size


class ModelCache:
    """The models of one worker. Raises DoesNotFit for one that cannot be loaded in ``capacity``
    bytes. Decides alone: whoever asked for a ``plan`` carries it out, and says how it went."""

    def __init__(self, models: Mapping[str, ModelSizes], capacity: float = math.inf) -> None:
        if (wrong := misfit(models, capacity)) is not None:
            raise DoesNotFit(f"the model {wrong.model}: {wrong.message}")
        self.capacity = capacity
        self.clock = 0.0
        self._models = {name: CachedModel(name, declared) for name, declared in models.items()}
        self._wanted: list[str] = []

    def __repr__(self) -> str:
        present = {
            model.name: model.state.value for model in self if model.state is not ModelState.OUT
        }
        return f"<ModelCache {present}, wanted {self._wanted}>"

    def __iter__(self) -> Iterator[CachedModel]:
        return iter(self._models.values())

    def __contains__(self, name: str) -> bool:
        return name in self._models

    def __getitem__(self, name: str) -> CachedModel:
        return self._models[name]

    @property
    def taken(self) -> int:
        """Bytes of what is in or on its way in."""
        return sum(v.size for v in self._models.values() if v.state is not ModelState.OUT)

    def acquire(self, name: str) -> bool:
        """A call uses the model from now on; False while it takes no calls."""
        model = self._models[name]
        if model.state is not ModelState.IN:
            return False
        model.users += 1
        model.hits += 1
        self._value(model)
        self.unwant(name)
        return True

    def release(self, name: str) -> None:
        """A call that used it has ended."""
        model = self._models[name]
        assert model.users > 0, f"{name} is not in use"
        model.users -= 1

    def want(self, name: str) -> None:
        """A call waits for the model: however many do, it is loaded once."""
        state = self._models[name].state
        if name not in self._wanted and state in (ModelState.OUT, ModelState.LEAVING):
            self._wanted.append(name)

    def unwant(self, name: str) -> None:
        """Nobody waits for it any more. A load that was begun goes on."""
        if name in self._wanted:
            self._wanted.remove(name)

    def plan(self) -> list[Step]:
        """What to do now, in this order, all of it: evictions, then one load; nothing while a
        load goes on. First wanted, first served; but who waits for calls under way to end holds
        up none for whom there is room besides."""
        if any(model.state is ModelState.LOADING for model in self._models.values()):
            return []
        leaving = [v for v in self._models.values() if v.state is ModelState.LEAVING]
        for model in leaving:
            model.state = ModelState.IN
        now, claimed = self.capacity - self.taken, set[str]()
        later = now  # once calls under way have ended and those who wait for them are in
        for name in tuple(self._wanted):
            model = self._models[name]
            if model.state is not ModelState.OUT:
                continue  # it was to leave, and may stay; or leaves first
            victims = self._victims(model.size - min(now, later), claimed, leaving)
            if victims is not None and not any(victim.users for victim in victims):
                return self._exchange(victims, model)
            victims = self._victims(model.size - later, claimed, leaving)
            if victims is None:
                break
            later += sum(victim.size for victim in victims) - model.size
            self._promise(victims, claimed)
        return []

    def loaded(self, name: str, seconds: float) -> None:
        """Its load has ended well, after so many seconds."""
        model = self._models[name]
        model.state, model.load_s, model.hits = ModelState.IN, max(0.0, seconds), 0
        model.loads += 1
        self._value(model)

    def failed(self, name: str) -> None:
        """Its load has ended without a model."""
        model = self._models[name]
        model.state = ModelState.OUT
        model.failures += 1

    def load_first(self) -> list[LoadModel]:
        """The pinned models, all at once: for a worker that starts."""
        pinned = [model for model in self._models.values() if model.pinned]
        for model in pinned:
            model.state = ModelState.LOADING
        return [LoadModel(model.name) for model in pinned]

    def _value(self, model: CachedModel) -> None:
        model.worth = self.clock + max(1, model.hits) * model.cost

    def _victims(
        self, need: float, claimed: set[str], leaving: list[CachedModel]
    ) -> list[CachedModel] | None:
        """What goes to make ``need`` bytes free: idle ones first, then those that were to leave
        before, then the least worthy. None: there is not enough that may go."""
        candidates = [
            model
            for model in self._models.values()
            if model.state in (ModelState.IN, ModelState.LEAVING)
            and not model.pinned
            and model.name not in claimed
        ]
        candidates.sort(key=lambda v: (v.users > 0, v not in leaving, v.worth))
        chosen: list[CachedModel] = []
        for model in candidates:
            if need <= 0:
                break
            chosen.append(model)
            need -= model.size
        if need > 0:
            return None
        for model in tuple(reversed(chosen)):  # a large one may have made small ones needless
            if need + model.size <= 0:
                chosen.remove(model)
                need += model.size
        return chosen

    def _exchange(self, victims: list[CachedModel], model: CachedModel) -> list[Step]:
        for victim in victims:
            victim.state = ModelState.OUT
            victim.evictions += 1
            self.clock = max(self.clock, victim.worth)
        model.state = ModelState.LOADING
        self._wanted.remove(model.name)
        return [*(UnloadModel(victim.name) for victim in victims), LoadModel(model.name)]

    def _promise(self, victims: list[CachedModel], claimed: set[str]) -> None:
        for victim in victims:
            claimed.add(victim.name)
            if victim.users:
                victim.state = ModelState.LEAVING
