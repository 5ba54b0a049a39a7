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
from gateway.reserve.earlier_file import EarlierFile
from gateway.reserve.hooks import HookOutcome, Hooks
from gateway.reserve.leases import RentedLeases
from gateway.reserve.rented import Rented
from gateway.reserve.wanted import (
    WantedTrend,
    is_to_start,
    pause_s,
    start_pause_s,
    to_stop,
    trend_of,
    wanted_of,
)
from gateway.reserve.writing import RentedWriting
from gateway.storage.base import Admitted, Claim, SharedStore, StorageUnavailable
from gateway.storage.rented.base import InstanceStore
from gateway.tasks import BackgroundTasks

log = logging.getLogger("spillgate")

_TICK_S = 1.0
_LEAVE_S = 10.0
"""The longest that the end of the gateway waits for stop hooks."""
_HELD_S = 7200.0
"""For so long an instance counts among ``most`` in the store that gateways share after the death of
the gateway that started it."""
_RENEWED_S = 600.0


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
        self._hooks = hooks
        self._shared = shared
        self._clock = clock
        self._make_id = make_id
        self._rented: dict[str, Rented] | None = None
        """By their ids; None: nobody can read what runs."""
        self._writing = RentedWriting(store, self._leases.holder, self._instance, clock)
        self._trends: dict[str, WantedTrend] = {}
        self._failures: dict[str, int] = {}
        self._start_at: dict[str, float] = {}
        self._stop_at: dict[str, float] = {}
        self._held_at: dict[str, float] = {}
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
        when its gateway died nobody knows, so it is stopped."""
        news = await self._leases.look(self._writing.written)
        if news is None:
            return
        rented = self._rented = {} if self._rented is None else self._rented
        for id in news.lost:
            self._lose(id)
        for one in map(_unknown_is_stopped, news.taken):
            rented[one.id] = one
            self._writing.written.add(one.id)
            if one.state != "ended":
                text = "instance %s of %s: %s since before, and is looked after from here on"
                log.warning(text, one.id, one.reserve, one.state)

    def _instance(self, id: str) -> Rented | None:
        return (self._rented or {}).get(id)

    def _lose(self, id: str) -> None:
        """This gateway did not answer for a while: it neither stops it nor books it any more."""
        self._writing.written.discard(id)
        if (self._rented or {}).pop(id, None) is not None:
            self._held_at.pop(id, None)
            log.warning("instance %s is looked after by another gateway by now", id)

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
            if one.runs and one.reserve not in reserves and one.state == "up":
                await self._change(msgspec.structs.replace(one, state="stopping"))
        await self._hold()
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
                self._tasks.run(self._start(active, name, rule))
            return
        up = [one for one in there if one.state == "up" and one.id not in self._busy]
        for one in to_stop(rule, trend, up, mine, now_at):
            self._rented[one.id] = msgspec.structs.replace(one, state="stopping")

    def _is_drained(self, active: ActivePolicy, rule: Reserve) -> bool:
        return active.backends[rule.backend].draining

    # --- starting ---

    async def _start(self, active: ActivePolicy, name: str, rule: Reserve) -> None:
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
            if await self._has_begun(one, rule):
                await self._call_start(one, rule)
        finally:
            self._busy.discard(name)

    async def _has_begun(self, one: Rented, rule: Reserve) -> bool:
        """Whether there is room for it and it is written down; else it takes no place."""
        try:
            if not await self._may_begin(one, rule):
                return False
            if await self._change(one):
                return True
        except asyncio.CancelledError:
            await self._forget(one)
            raise
        self._fail(one, "it cannot be written down")
        await self._release(one)
        return False

    async def _may_begin(self, one: Rented, rule: Reserve) -> bool:
        """Whether there is room for it below ``most`` over all gateways."""
        try:
            answer = await self._shared.admit(one.booked_as, _claims(one, rule.most), _HELD_S)
        except StorageUnavailable as unavailable:
            self._fail(one, f"the shared store cannot be asked: {unavailable}")
            await self._release(one)
            return False
        if isinstance(answer, Admitted):
            self._held_at[one.id] = self._clock.monotonic()
            return True
        self._start_at[one.reserve] = self._clock.time() + pause_s(1)
        return False

    async def _call_start(self, one: Rented, rule: Reserve) -> None:
        token = "" if rule.token is None else rule.token.reveal()
        outcome = await self._hooks.call(rule.start, "start", one, token)
        if outcome.done:
            self._failures.pop(one.reserve, None)
            self._start_at.pop(one.reserve, None)
            await self._change(msgspec.structs.replace(one, state="up"))
            log.info("reserve %s: instance %s was started", one.reserve, one.id)
            return
        self._fail(one, outcome.said)
        if outcome.done is None:
            log.error("instance %s may run all the same, and is stopped", one.id)
            await self._change(msgspec.structs.replace(one, state="stopping"))
            return
        await self._forget(one)

    async def _forget(self, one: Rented) -> None:
        """It was not started."""
        if (self._rented or {}).pop(one.id, None) is not None:
            await self._writing.write(one.id)
        await self._release(one)

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
            rule = self._active().policy.reserve.get(one.reserve)
            hook = one.stop if rule is None else rule.stop
            token = "" if rule is None or rule.token is None else rule.token.reveal()
            await self._change(one)
            if one.id not in (self._rented or {}):
                return
            outcome = await self._hooks.call(hook, "stop", one, token)
            await self._stopped(one, outcome)
        finally:
            self._busy.discard(one.id)

    async def _stopped(self, one: Rented, outcome: HookOutcome) -> None:
        now_at = self._clock.time()
        if outcome.done:
            await self._change(
                msgspec.structs.replace(one, state="ended", ended=one.paid_until(now_at))
            )
            await self._release(one)
            log.info("reserve %s: instance %s was stopped", one.reserve, one.id)
            return
        tries = one.tries + 1
        self._stop_at[one.id] = now_at + pause_s(tries)
        await self._change(msgspec.structs.replace(one, tries=tries))
        text = "reserve %s: instance %s is not known to be stopped (%d tries), and is paid for: %s"
        log.error(text, one.reserve, one.id, tries, outcome.said)

    # --- what is written down and held ---

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

    async def _hold(self) -> None:
        """Instances go on to count in the store that gateways share."""
        now = self._clock.monotonic()
        for name in [*(self._rented or {})]:
            one = (self._rented or {}).get(name)
            if one is None:
                continue
            held_at = self._held_at.get(one.id)
            if one.state == "ended" or (held_at is not None and now - held_at < _RENEWED_S):
                continue
            self._held_at[one.id] = now
            try:
                await self._shared.reinstate(one.booked_as, _claims(one, 1), _HELD_S)
            except StorageUnavailable:
                return

    async def _release(self, one: Rented) -> None:
        self._held_at.pop(one.id, None)
        try:
            await self._shared.release(one.booked_as)
        except StorageUnavailable:
            return  # it expires

    # --- the end ---

    async def drain(self) -> None:
        """Waits for the hooks under way."""
        await self._tasks.drain()

    async def hand_over(self) -> None:
        """Another process goes on with what is written down."""
        await self._tasks.cancel()
        await self._leases.leave()

    async def aclose(self) -> None:
        """The gateway ends: what runs is stopped, within ten seconds; what is not known to be
        stopped then is still written down, and the next start goes on."""
        await self._tasks.cancel()
        left = [
            _unknown_is_stopped(msgspec.structs.replace(one, state="stopping"))
            for one in (self._rented or {}).values()
            if one.state != "ended"
        ]
        try:
            async with asyncio.timeout(_LEAVE_S):
                await asyncio.gather(*(self._stop(one) for one in left))
                await self._writing.finish()
                await self._leases.leave()
        except TimeoutError:
            log.error("instances are not known to be stopped: %s", [one.id for one in left])


def _unknown_is_stopped(one: Rented) -> Rented:
    return msgspec.structs.replace(one, state="stopping") if one.state == "starting" else one


def _claims(one: Rented, most: int) -> tuple[Claim, ...]:
    return (Claim(f"reserve:{one.reserve}", "concurrent", "", most, 1),)
