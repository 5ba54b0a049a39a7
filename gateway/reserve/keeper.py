"""The loop that starts and stops instances by their hooks, as plans advise."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Iterator

import msgspec

from gateway.active_policy import ActivePolicy
from gateway.clock import Clock
from gateway.metrics import Reading
from gateway.policy.sections.commitments import Commitment
from gateway.policy.sections.reserve import Reserve
from gateway.reserve.asked_hooks import AskedHooks
from gateway.reserve.earlier_file import EarlierFile
from gateway.reserve.hooks import HookOutcome, Hooks
from gateway.reserve.leases import RentedLeases
from gateway.reserve.places import Places
from gateway.reserve.rented import Rented
from gateway.reserve.strays import Strays
from gateway.reserve.wanted import (
    WantedTrend,
    is_to_start,
    pause_s,
    start_pause_s,
    to_stop,
    trend_of,
    wanted_of,
)
from gateway.reserve.writing import LEASE_S, RentedWriting
from gateway.storage.base import SharedStore, StorageUnavailable
from gateway.storage.rented.base import InstanceStore
from gateway.tasks import BackgroundTasks

log = logging.getLogger("spillgate")

_TICK_S = 1.0
_LEAVE_S = 10.0
"""The longest that the end of the gateway waits for stop hooks."""


class ReserveLook(msgspec.Struct, frozen=True):
    """What the last look at one reserve has come to."""

    advised: int
    """Calls at once for which instances are worth their price."""
    wanted: int
    there: int
    acts: bool


class ReserveKeeper:
    """Of one process: it looks after what it has started, and what others have left behind."""

    def __init__(
        self,
        *,
        active: Callable[[], ActivePolicy],
        advised: Callable[[ActivePolicy, Reserve], int],
        leads: Callable[[], bool],
        store: InstanceStore,
        hooks: Hooks,
        shared: SharedStore,
        clock: Clock,
        make_id: Callable[[], str] = lambda: os.urandom(8).hex(),
        earlier: EarlierFile | None = None,
    ) -> None:
        """``advised``: calls at once that instances are worth; ``leads``: whether this gateway is
        the one to start any; ``earlier``: what a version of once has written down."""
        self._active = active
        self._advised = advised
        self._leads = leads
        self._leases = RentedLeases(store, earlier, lambda: active().policy.reserve, clock)
        self._hooks = AskedHooks(hooks, active)
        self._places = Places(store, shared, clock)
        self._strays = Strays(store, self._hooks, clock)
        self._clock = clock
        self._make_id = make_id
        self._rented: dict[str, Rented] | None = None
        """By their ids; None: nobody can read what runs."""
        self._writing = RentedWriting(store, self._leases.holder, self._instance, clock)
        self._trends: dict[str, WantedTrend] = {}
        self._failures: dict[str, int] = {}
        self._start_at: dict[str, float] = {}
        self._stop_at: dict[str, float] = {}
        self._busy: set[str] = set()
        """Reserves at which one is being started, and instances that are being stopped."""
        self._tasks = BackgroundTasks()
        self.last: dict[str, ReserveLook] = {}
        """By the reserve's name."""

    async def run(self) -> None:
        """A look a second, for ever, after ``recall``."""
        while True:
            await self.tick()
            await self._clock.sleep(_TICK_S)

    async def recall(self) -> None:
        """What runs and nobody looks after, by what was written down: of one that was being started
        when its gateway died nobody knows, so it is stopped. What this gateway did not answer for
        in time it neither stops nor books any more."""
        news = await self._leases.look(self._writing.written)
        if news is None:
            return
        rented = self._rented = {} if self._rented is None else self._rented
        for id in news.lost:
            self._lose(id)
        for found in news.taken:
            one = found.to_be_stopped if found.state == "starting" else found
            rented[one.id] = one
            self._writing.written[one.id] = one.state
            if one.state != "ended":
                text = "instance %s of %s: %s since before, and is looked after from here on"
                log.warning(text, one.id, one.reserve, one.state)

    def _instance(self, id: str) -> Rented | None:
        return (self._rented or {}).get(id)

    def _lose(self, id: str) -> None:
        known = self._writing.written.pop(id, None)
        one = (self._rented or {}).pop(id, None)
        if one is None:
            return
        self._places.leave(id)
        log.warning("instance %s is looked after by another gateway by now", id)
        if known == "starting" and one.state != "starting":
            self._strays.add(one)

    def commitments(self) -> dict[str, Commitment] | None:
        """Name -> what is to be booked of each instance; None: nobody can read what runs."""
        if self._rented is None:
            return None
        return {one.booked_as: one.commitment for one in self._rented.values()}

    def readings(self) -> Iterator[Reading]:
        """For the metrics."""
        text = "Instances that hooks have started, by what is known of them"
        counts: dict[tuple[str, str], int] = {}
        for one in (self._rented or {}).values():
            if one.state != "ended":
                key = one.reserve, one.state
                counts[key] = counts.get(key, 0) + 1
        for (name, state), count in counts.items():
            labels = {"reserve": name, "state": state}
            yield "spillgate_reserve_instances", text, labels, float(count)
        for name, look in self.last.items():
            told = "Instances that the plan advises"
            yield "spillgate_reserve_wanted", told, {"reserve": name}, float(look.wanted)

    async def tick(self) -> None:
        """Starts and stops what is due."""
        await self.recall()
        rented = self._rented
        if rented is None:
            return
        active = self._active()
        reserves = active.policy.reserve
        self.last = {name: self.last[name] for name in self.last if name in reserves}
        for name, rule in reserves.items():
            self._look(active, name, rule)
        for one in [*rented.values()]:
            if one.state == "up" and one.reserve not in reserves:
                await self._change(one.to_be_stopped)
        await self._places.hold(rented)
        await self._writing.catch_up()
        now_at = self._clock.time()
        for one in rented.values():
            due = now_at >= self._stop_at.get(one.id, now_at)
            if one.state == "stopping" and due and one.id not in self._busy:
                self._busy.add(one.id)
                self._tasks.run(self._stop(one))

    def _look(self, active: ActivePolicy, name: str, rule: Reserve) -> None:
        assert self._rented is not None
        now_at = self._clock.time()
        there = [one for one in self._rented.values() if one.reserve == name and one.runs]
        acts = active.policy.warm_pool[rule.plan].plan == "act"
        advised = self._advised(active, rule)
        wanted = wanted_of(rule, advised)
        mine = wanted if acts and self._leads() and not self._is_drained(active, rule) else 0
        before = self.last.get(name)
        look = self.last[name] = ReserveLook(advised, wanted, len(there), acts)
        if not acts and wanted != (0 if before is None else before.wanted):
            log.info("reserve %s: %d instances would be rented", name, look.wanted)
        trend = self._trends[name] = trend_of(
            self._trends.get(name, WantedTrend()), mine, len(there), now_at
        )
        if is_to_start(rule, trend, now_at) and now_at >= self._start_at.get(name, now_at):
            if name not in self._busy:
                self._busy.add(name)
                self._tasks.run(self._start(active, name, rule, mine))
            return
        up = [one for one in there if one.state == "up" and one.id not in self._busy]
        for one in to_stop(rule, trend, up, mine, now_at):
            self._rented[one.id] = one.to_be_stopped

    def _is_drained(self, active: ActivePolicy, rule: Reserve) -> bool:
        return active.backends[rule.backend].draining

    # --- starting ---

    async def _start(self, active: ActivePolicy, name: str, rule: Reserve, wanted: int) -> None:
        try:
            price = active.backends[rule.backend].price
            one = Rented(
                id=self._make_id(),
                reserve=name,
                backend=rule.backend,
                hourly_nano=0 if price is None else price.per_hour or 0,
                began=int(self._clock.time()),
                stop=rule.stop,
                timeout_s=rule.timeout,
            )
            if await self._has_begun(one, rule, wanted):
                await self._call_start(one, rule)
        finally:
            self._busy.discard(name)

    async def _has_begun(self, one: Rented, rule: Reserve, wanted: int) -> bool:
        """Whether there is room for it and it is written down; else it takes no place."""
        try:
            if not await self._may_begin(one, rule, wanted):
                return False
            why = "it cannot be written down"
            if await self._change(one):
                if self._clock.time() - one.began < LEASE_S / 2:
                    return True
                why = "it could not be written down in time"
        except BaseException:
            await self._forget(one)
            raise
        self._fail(one, why)
        await self._forget(one)
        return False

    async def _may_begin(self, one: Rented, rule: Reserve, wanted: int) -> bool:
        """Whether there is room for it over all gateways."""
        try:
            if await self._places.take(one, rule.most, wanted, self._rented or {}):
                return True
        except StorageUnavailable as unavailable:
            self._fail(one, f"nobody knows what runs: {unavailable}")
            await self._places.free(one)
            return False
        self._start_at[one.reserve] = self._clock.time() + pause_s(1)
        return False

    async def _call_start(self, one: Rented, rule: Reserve) -> None:
        outcome = await self._hooks.start(one, rule)
        if outcome.done is False:
            self._fail(one, outcome.said)
            await self._forget(one)
        elif outcome.done:
            self._failures.pop(one.reserve, None)
            self._start_at.pop(one.reserve, None)
            log.info("reserve %s: instance %s was started", one.reserve, one.id)
            await self._goes_on(one, msgspec.structs.replace(one, state="up"))
        else:
            self._fail(one, outcome.said)
            log.error("instance %s may run all the same, and is stopped", one.id)
            await self._goes_on(one, one.to_be_stopped)

    async def _goes_on(self, one: Rented, now: Rented) -> None:
        """As ``now``, unless another gateway has it since."""
        if one.id in (self._rented or {}):
            await self._change(now)
        else:
            self._strays.add(now)

    async def _forget(self, one: Rented) -> None:
        """It was not started."""
        if (self._rented or {}).pop(one.id, None) is not None:
            await self._writing.write(one.id)
        await self._places.free(one)

    def _fail(self, one: Rented, why: str) -> None:
        failures = self._failures[one.reserve] = self._failures.get(one.reserve, 0) + 1
        again_s = start_pause_s(failures)
        self._start_at[one.reserve] = self._clock.time() + again_s
        text = "reserve %s: no instance was started (%d in a row): %s; again in %d s"
        log.error(text, one.reserve, failures, why, again_s)

    # --- stopping ---

    async def _stop(self, one: Rented) -> None:
        """It is paid for until its hook has said that it is stopped, to the end of that hour; the
        hook is called also where nothing can be written down."""
        try:
            await self._change(one)
            if one.id not in (self._rented or {}):
                return
            asked_at = self._clock.time()
            await self._stopped(one, asked_at, await self._hooks.stop(one))
        finally:
            self._busy.discard(one.id)

    async def _stopped(self, one: Rented, asked_at: float, outcome: HookOutcome) -> None:
        now_at = self._clock.time()
        if outcome.done and asked_at < one.sure_at:
            self._stop_at[one.id] = one.sure_at
            text = "instance %s was stopped, and is once more in %d s: its start may be late"
            log.warning(text, one.id, one.sure_at - now_at)
            return
        if outcome.done:
            await self._change(
                msgspec.structs.replace(one, state="ended", ended=one.paid_until(now_at))
            )
            self._stop_at.pop(one.id, None)
            await self._places.free(one)
            log.info("reserve %s: instance %s was stopped", one.reserve, one.id)
            return
        tries = one.tries + 1
        self._stop_at[one.id] = now_at + pause_s(tries)
        await self._change(msgspec.structs.replace(one, tries=tries))
        text = "reserve %s: instance %s is not known to be stopped (%d tries), and is paid for: %s"
        log.error(text, one.reserve, one.id, tries, outcome.said)

    # --- what is written down ---

    async def _change(self, one: Rented) -> bool:
        """False where it could not be written down."""
        assert self._rented is not None
        before = self._rented.get(one.id)
        self._rented[one.id] = one
        written = await self._writing.write(one.id)
        if written is False:
            self._lose(one.id)
        elif written is None and before is None:
            del self._rented[one.id]
        return bool(written)

    # --- the end ---

    async def drain(self) -> None:
        """Waits for the hooks under way."""
        await self._tasks.drain()
        await self._strays.drain()

    async def hand_over(self) -> None:
        """Another process goes on with what is written down."""
        await self._tasks.cancel()
        await self._strays.cancel()
        await self._leases.leave()

    async def aclose(self) -> None:
        """The gateway ends: what runs is stopped, within ten seconds; what is not known to be
        stopped then is still written down, and the next start goes on."""
        await self._tasks.cancel()
        await self._strays.cancel()
        strays = [*self._strays.left.values()]
        rented = (self._rented or {}).values()
        left = [one.to_be_stopped for one in rented if one.state != "ended"]
        try:
            async with asyncio.timeout(_LEAVE_S):
                stops = (self._stop(one) for one in left)
                await asyncio.gather(*stops, *map(self._strays.is_stopped, strays))
                await self._writing.finish()
                await self._leases.leave()
        except TimeoutError:
            log.error(
                "instances are not known to be stopped: %s", [one.id for one in (*left, *strays)]
            )
