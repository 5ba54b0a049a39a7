"""Which of a backend's workers a call would find warm, where it can be cold."""

from __future__ import annotations

from adapters.types import Usage
from gateway.backends.held_workers import HeldWorkers
from gateway.backends.learned import COLD_FLOOR_S, Learned
from gateway.backends.leases import Leases
from gateway.backends.slots import SlotQueue
from gateway.policy.sections.price import Price


class PlatformWorkers:
    """Those that ended a call a short while ago, and those that the platform was told to keep.
    Instants are monotonic seconds."""

    def __init__(self, learned: Learned, leases: Leases, queue: SlotQueue) -> None:
        self.held = HeldWorkers()
        self.started_ahead = False
        """Somebody starts workers by the calls that wait, so that these need not start any."""
        self.per_worker = 1
        """Calls that each of them runs at once."""
        self._learned = learned
        self._leases = leases
        self._queue = queue

    def up(self, now: float) -> int:
        """Those that are up, busy ones among them: as the platform says, else as far as is
        known."""
        cold, said = self._learned.cold, self.held.said_up
        if said is not None:
            return said
        return 0 if cold is None else self.held.up(now, cold.p95)

    def ready_slots(self) -> int | None:
        """Calls that may be sent there at once, where workers are started for calls before these
        are sent; None where a call that is sent starts one."""
        if not self.started_ahead or self.held.said_up is None:
            return None
        return self.held.said_up * self.per_worker

    def idle(self, now: float) -> int | None:
        """Those that are warm and idle; None of a backend that is always warm."""
        learned, held = self._learned, self.held
        cold = learned.cold
        if cold is None:
            return None
        idle = learned.warm.idle(now)
        if not held.count:
            return idle
        return max(idle, held.up(now, cold.p95) - self._busy)

    def starting_for_s(self, now: float) -> float | None:
        """Since when the oldest worker starts that is waited for, or was told to be there."""
        waited_for = self._leases.starting_for_s(now)
        if not self.held.count or (cold := self._learned.cold) is None:
            return waited_for
        told = self.held.starting_for_s(now, cold.p95)
        return max((one for one in (waited_for, told) if one is not None), default=None)

    def tail_s(self, now: float, price: Price | None) -> float:
        """Seconds of a worker's wait, where the price bills them, that a call adds; none where
        workers are kept in any case."""
        if self._learned.cold is None or self.held.count or price is None:
            return 0.0
        return self._learned.warm.tail_s(now) if "idle" in price.bills else 0.0

    def take(self, now: float) -> bool:
        """A worker for a call that has its slot; True where that will probably wait for a start."""
        cold = self._learned.cold
        if cold is None or not self._learned.start(now):
            return False
        return self._busy > self.held.up(now, cold.p95)

    @property
    def _busy(self) -> int:
        """Calls that are there, of all processes."""
        return self._queue.running + self._leases.share.others

    def hear(self, up: int, now: float, *, idle: bool) -> None:
        """The platform says how many are up; ``idle``: it has no call of ours."""
        up = up if self._learned.begins else 0
        self.held.hear(up)
        self._learned.observe_warm(up, now, idle=idle)

    def learn(self, usage: Usage, now: float) -> None:
        """A call was answered that was not expected to wait for a start: it may have."""
        if (usage.cold_s or 0.0) >= COLD_FLOOR_S:
            self.held.doubt(now)
