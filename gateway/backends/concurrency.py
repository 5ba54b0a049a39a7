"""How many calls one backend runs at once, how many are sent there, and how many may wait."""

from __future__ import annotations

from collections.abc import Callable

from adapters.base import Backend, Clock
from gateway.backends.engine_line import EngineLine
from gateway.backends.learned import Learned
from gateway.backends.shared_bound import MakeBound, SharedBound, bound_of
from gateway.backends.slots import SlotQueue
from gateway.planning.kept_free import ArrivalRate, KeptFree, kept_free
from gateway.policy.model import BackendSpec

_QUEUE_PER_SLOT = 64
"""Calls that may wait for each slot of a backend that the gateway queues for."""

_PATIENCE_S = 5.0


class Concurrency:
    """By what the adapter says, and no more than the policy allows."""

    def __init__(
        self, spec: BackendSpec, adapter: Backend, learned: Learned, line: EngineLine, clock: Clock
    ) -> None:
        self._spec = spec
        self._common = spec.common
        self._adapter = adapter
        self._learned = learned
        self._line = line
        self._clock = clock
        self.queue = SlotQueue(self._cap, clock, self._kept_free)
        self._arriving = ArrivalRate(clock.monotonic())
        self.bound: SharedBound | None = None
        self._make: MakeBound | None = None
        self._bounded_to: int | None = None
        self.ready: Callable[[], int | None] | None = None
        """How many calls its workers take that are up, where calls wait for these; None of it: a
        call that is sent starts a worker. Of a backend that is always warm there is none."""

    def share(self, make: MakeBound | None) -> None:
        """Several processes share what bounds the calls: ``make`` makes this one's part of it."""
        self._make = make
        self.follow()

    def follow(self) -> None:
        """The adapter may have learned how many calls its backend runs, and how."""
        if self._adapter.capabilities.one_by_one:
            self._learned.foresee_one_by_one()
        if self._make is None or (calls := self._most) == self._bounded_to:
            return
        if self.bound is not None:
            self.bound.leave(self.queue)
        self._bounded_to = calls
        self.bound = bound_of(self._spec.name, calls, self.queue, self._make)
        if self.bound is not None and self.queue.waiting:
            self.bound.ask()

    @property
    def _most(self) -> int | None:
        """Calls that may be there at once, of all processes: as the policy has it, else as many as
        run, at a backend that refuses what it does not run."""
        if self._common.concurrency is not None:
            return self._common.concurrency
        return None if self._adapter.capabilities.queues else self._adapter.slots or None

    def slots(self) -> int | None:
        """Calls that it runs at once."""
        own = self._adapter.slots
        cap = self._common.concurrency if self.bound is None else self.bound.expected
        if cap is None or own is None:
            return own if cap is None else cap
        return min(cap, own)

    def is_full(self, calls: int) -> bool:
        """Whether, of so many calls that are there, as many wait as may."""
        slots = self.slots()
        most = self.most_waiting(slots)
        return slots is not None and most is not None and calls >= slots + most

    def most_waiting(self, slots: int | None) -> int | None:
        """Calls that may wait for a slot: as many as the policy allows, else some for each slot."""
        if self._common.max_queue is not None:
            return self._common.max_queue
        return None if slots is None else (slots or 1) * _QUEUE_PER_SLOT

    def _kept_free(self) -> KeptFree | None:
        """While calls come on their connections, some slots are left free for the next ones; None
        where all are for the lines of batches as well."""
        slots, queue = self.slots(), self.queue
        rate = self._arriving.rate(queue.arrivals, self._clock.monotonic())
        free = 0 if slots is None else kept_free(rate, queue.line_s, slots)
        return KeptFree(free, slots) if slots is not None and free else None

    def _cap(self) -> int | None:
        """Calls that are sent there at once."""
        ready = None if self.ready is None else self.ready()
        return self._most_sent() if ready is None else self._bounded(self._most_sent(), ready)

    def _most_sent(self) -> int | None:
        """The same, whatever workers are up. A backend that says how many it runs gets what keeps
        it busy for a moment; the rest waits here, where waiting costs nothing and a call can
        still go elsewhere."""
        fixed, slots, bound = self._common.concurrency, self._adapter.slots, self.bound
        if fixed is not None or slots is None:
            return fixed if bound is None else bound.cap(self.queue)
        if not self._adapter.capabilities.queues:
            free = max(slots - self._line.others(self._clock.monotonic()), 1)
            return free if bound is None else min(free, bound.cap(self.queue))
        return max(slots, 1) * self._learned.depth

    def _bounded(self, most: int | None, ready: int) -> int:
        """No more than workers are up for. One more where a call has waited for far longer than a
        start takes: what is known of the workers must be wrong, and the platform starts its own."""
        oldest, cold = self.queue.line.oldest(), self._learned.cold
        if oldest is not None and cold is not None:
            waited_s = self._clock.monotonic() - oldest
            if waited_s > 2 * cold.p95 + _PATIENCE_S:
                ready = max(ready, self.queue.running + 1)
        return ready if most is None else min(most, ready)
