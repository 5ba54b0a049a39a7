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
    OUT = "out"
    LOADING = "loading"
    IN = "in"
    LEAVING = "leaving"
    """It is in and takes no new calls: it goes when those under way have ended."""


class LoadModel(msgspec.Struct, frozen=True):
    model: str


class UnloadModel(msgspec.Struct, frozen=True):
    model: str


Step = LoadModel | UnloadModel


class DoesNotFit(ValueError):
    """A declared model can never be loaded."""


class CachedModel:
    """One model on the shelf, or off it."""

    __slots__ = (
        "evictions",
        "failures",
        "hits",
        "load_s",
        "loads",
        "name",
        "pinned",
        "place",
        "size",
        "users",
        "worth",
    )

    def __init__(self, name: str, declared: ModelSizes) -> None:
        self.name = name
        self.size = declared.memory
        self.pinned = declared.pin
        self.place = ModelState.OUT
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
        self._volumes = {name: CachedModel(name, declared) for name, declared in models.items()}
        self._wanted: list[str] = []

    def __repr__(self) -> str:
        held = {
            volume.name: volume.place.value for volume in self if volume.place is not ModelState.OUT
        }
        return f"<Shelf {held}, wanted {self._wanted}>"

    def __iter__(self) -> Iterator[CachedModel]:
        return iter(self._volumes.values())

    def __contains__(self, name: str) -> bool:
        return name in self._volumes

    def __getitem__(self, name: str) -> CachedModel:
        return self._volumes[name]

    @property
    def taken(self) -> int:
        """Bytes of what is in or on its way in."""
        return sum(v.size for v in self._volumes.values() if v.place is not ModelState.OUT)

    def borrow(self, name: str) -> bool:
        """A call uses the model from now on; False while it takes no calls."""
        volume = self._volumes[name]
        if volume.place is not ModelState.IN:
            return False
        volume.users += 1
        volume.hits += 1
        self._value(volume)
        self.unwant(name)
        return True

    def give_back(self, name: str) -> None:
        """A call that borrowed it has ended."""
        volume = self._volumes[name]
        assert volume.users > 0, f"{name} is not lent"
        volume.users -= 1

    def want(self, name: str) -> None:
        """A call waits for the model: however many do, it is loaded once."""
        place = self._volumes[name].place
        if name not in self._wanted and place in (ModelState.OUT, ModelState.LEAVING):
            self._wanted.append(name)

    def unwant(self, name: str) -> None:
        """Nobody waits for it any more. A load that was begun goes on."""
        if name in self._wanted:
            self._wanted.remove(name)

    def plan(self) -> list[Step]:
        """What to do now, in this order, all of it: evictions, then one load; nothing while a
        load goes on. First wanted, first served; but who waits for calls under way to end holds
        up none for whom there is room besides."""
        if any(volume.place is ModelState.LOADING for volume in self._volumes.values()):
            return []
        leaving = [v for v in self._volumes.values() if v.place is ModelState.LEAVING]
        for volume in leaving:
            volume.place = ModelState.IN
        free, claimed = self.capacity - self.taken, set[str]()
        for name in tuple(self._wanted):
            volume = self._volumes[name]
            if volume.place is not ModelState.OUT:
                continue  # it was to leave, and may stay; or leaves first
            victims = self._victims(volume.size - free, claimed, leaving)
            if victims is None:
                break
            if not any(victim.users for victim in victims):
                return self._exchange(victims, volume)
            free += sum(victim.size for victim in victims) - volume.size
            self._promise(victims, claimed)
        return []

    def loaded(self, name: str, seconds: float) -> None:
        """Its load has ended well, after so many seconds."""
        volume = self._volumes[name]
        volume.place, volume.load_s, volume.hits = ModelState.IN, max(0.0, seconds), 0
        volume.loads += 1
        self._value(volume)

    def failed(self, name: str) -> None:
        """Its load has ended without a model."""
        volume = self._volumes[name]
        volume.place = ModelState.OUT
        volume.failures += 1

    def load_first(self) -> list[LoadModel]:
        """The pinned models, all at once: for a worker that starts."""
        pinned = [volume for volume in self._volumes.values() if volume.pinned]
        for volume in pinned:
            volume.place = ModelState.LOADING
        return [LoadModel(volume.name) for volume in pinned]

    def _value(self, volume: CachedModel) -> None:
        volume.worth = self.clock + max(1, volume.hits) * volume.cost

    def _victims(
        self, need: float, claimed: set[str], leaving: list[CachedModel]
    ) -> list[CachedModel] | None:
        """What goes to make ``need`` bytes free: idle ones first, then those that were told to
        leave before, then the least worthy. None: there is not enough that may go."""
        candidates = [
            volume
            for volume in self._volumes.values()
            if volume.place in (ModelState.IN, ModelState.LEAVING)
            and not volume.pinned
            and volume.name not in claimed
        ]
        candidates.sort(key=lambda v: (v.users > 0, v not in leaving, v.worth))
        chosen: list[CachedModel] = []
        for volume in candidates:
            if need <= 0:
                break
            chosen.append(volume)
            need -= volume.size
        if need > 0:
            return None
        for volume in tuple(reversed(chosen)):  # a large one may have made small ones needless
            if need + volume.size <= 0:
                chosen.remove(volume)
                need += volume.size
        return chosen

    def _exchange(self, victims: list[CachedModel], volume: CachedModel) -> list[Step]:
        for victim in victims:
            victim.place = ModelState.OUT
            victim.evictions += 1
            self.clock = max(self.clock, victim.worth)
        volume.place = ModelState.LOADING
        self._wanted.remove(volume.name)
        return [*(UnloadModel(victim.name) for victim in victims), LoadModel(volume.name)]

    def _promise(self, victims: list[CachedModel], claimed: set[str]) -> None:
        for victim in victims:
            claimed.add(victim.name)
            if victim.users:
                victim.place = ModelState.LEAVING
