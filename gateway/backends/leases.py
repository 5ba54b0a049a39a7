"""The calls that have a place at a backend: since when each runs, and which wait for a start."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable

import msgspec

from gateway.backends.machine_share import MachineShare
from gateway.routing.forecast import RunTime


class Lease(msgspec.Struct, frozen=True):
    """A place at a backend, from ``LiveBackend.lease`` to ``end``."""

    expected_cold: bool
    leased_at: float
    trial: bool = False
    """It is the one call that is let through after a rest."""
    ping: bool = False
    """It is the warm pool's, and nobody's call."""
    share_mark: float = 0.0
    """Where the backend's ``MachineShare`` stood."""
    is_line: bool = False
    """It is that of a batch's line."""


class Leases:
    """Those of one backend that have not ended. Instants are monotonic seconds."""

    __slots__ = ("_handed_over", "_runs_from", "_starting", "changed", "pings", "share")

    def __init__(self) -> None:
        self.changed: Callable[[int, int], None] | None = None
        """Called with 1, 0 when one begins, with 0, 1 when one ends and leaves a worker warm, with
        0, 0 when one ends otherwise."""
        self.pings = 0
        """Leases of the warm pool."""
        self._runs_from: dict[int, float] = {}
        """From when on each call runs, as far as is foreseen; in the order of their leases."""
        self._handed_over: set[int] = set()
        """Leases whose place in line others have, though their work goes on."""
        self._starting: deque[float] = deque()
        self.share = MachineShare()
        """Whose the machine is."""

    def begin(
        self,
        now: float,
        runs_from: float,
        *,
        expected_cold: bool,
        trial: bool = False,
        ping: bool = False,
        sent: float | None = None,
        is_line: bool = False,
    ) -> Lease:
        """A call is sent, or was at ``sent``, and should run from ``runs_from`` on."""
        leased_at = now if sent is None else sent
        lease = Lease(expected_cold, leased_at, trial, ping, self.share.advance(now, 1), is_line)
        if expected_cold:
            self._starting.append(lease.leased_at)
        self._runs_from[id(lease)] = runs_from
        self.pings += ping
        if self.changed is not None:
            self.changed(1, 0)
        return lease

    @property
    def begun_at(self) -> float:
        """From when on the last of them runs, as far as is foreseen; long ago where none does."""
        return next(reversed(self._runs_from.values()), -math.inf)

    def oldest_s(self, now: float) -> float:
        """Seconds for which the first of them runs, as far as is foreseen; 0 where none does."""
        return now - next(iter(self._runs_from.values()), now)

    @property
    def calls(self) -> int:
        """How many there are, without pings."""
        return len(self._runs_from) - self.pings

    def share_of(self, lease: Lease, now: float) -> float:
        """The part of the machine that was a call's, on the average, since its lease began."""
        lasts_s = now - lease.leased_at
        if lasts_s <= 0:
            return 1 / max(self.share.calls, 1)
        return min(self.share.since(lease.share_mark, now) / lasts_s, 1.0)

    def hand_over(self, lease: Lease) -> None:
        """Another call gets its place in line, before it has ended."""
        self._handed_over.add(id(lease))

    def end(self, lease: Lease, now: float, *, warm: bool) -> bool:
        """``warm``: its worker is warm now. True where its place in line is given back by that;
        a lease that has ended before changes nothing."""
        key = id(lease)
        if self._runs_from.pop(key, None) is None:
            return False
        self.share.advance(now, -1)
        self.pings -= lease.ping
        if self.changed is not None:
            self.changed(0, int(warm))
        if lease.expected_cold and self._starting:
            self._starting.popleft()
        if key in self._handed_over:
            self._handed_over.remove(key)
            return False
        return True

    def starting_for_s(self, now: float) -> float | None:
        """Seconds since the oldest start that is waited for; None where none is."""
        return now - self._starting[0] if self._starting else None

    def seen_to_run(self, run: RunTime, now: float) -> RunTime:
        """A call that runs for longer than was thought is evidence: of a guess that was wrong,
        while nothing is learned yet, and of no more than a long run afterwards."""
        begun = next((since for since in self._runs_from.values() if since <= now), None)
        if begun is None:
            return run
        oldest = now - begun
        seen = oldest if not run.seen else min(oldest, run.high)
        return run if seen <= run.mean else RunTime(seen, run.deviation, max(1, run.seen))
