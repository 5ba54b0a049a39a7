"""A recording through a policy's gateway, on a virtual clock."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import random
from collections.abc import Callable, Mapping

import msgspec

from adapters import class_for
from gateway.calls.answer_limit import Looks
from gateway.calls.state import CallState
from gateway.calls.stream import SettledStream
from gateway.policy.model import BackendSpec, Policy
from gateway.replay.outcome import Outcome
from gateway.replay.policy_scenario import units_of
from gateway.replay.traffic import DAY_S, Arrival, Traffic
from gateway.replay.virtual.backends import (
    Simulated,
    SimulatedMachine,
    SimulatedPlatform,
    Surroundings,
    simulated,
)
from gateway.replay.virtual.callers import Callers
from gateway.replay.virtual.gateway import VirtualGateway
from gateway.replay.virtual.loop import VirtualClock, VirtualLoop
from gateway.replay.virtual.measured import Measured
from gateway.replay.virtual.row_sums import RowSums
from gateway.replay.virtual.runs import RunningCall
from gateway.replay.virtual.second_runs import SecondRuns
from gateway.storage.base import LedgerRow
from gateway.types import NANO, ApiError

_TELL_EVERY = 2000
"""Calls between two words on how far it has come."""
_TICK_S = 0.5
"""As a running gateway looks at its warm pool, and asks backends how they are."""
_QUIET_S = 15.0
"""Between two looks while there is nothing to look at, and where nothing is kept warm."""
_BOOK_EVERY_S = 60.0
_UP_BEFORE_S = 2.0
"""So long before the first call it has begun: it knows its backends, and who leads."""


class Assumed(msgspec.Struct, frozen=True, kw_only=True):
    """What a policy does not say."""

    model: str
    """Whose calls are those that the recording names no model of, or one that is not there."""
    now: float
    """The instant, in seconds since 1970, whose prices and days of the week hold."""
    slots: Mapping[str, int] = {}
    """Calls that a backend runs at once, in the place of what the policy says."""
    reserved_per_hour: float | None = None
    """US dollars of one reserved worker, in the place of what the policy says."""


class PlayedPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it."""

    outcome: Outcome
    charged_usd: float
    """What the gateway's own ledger would have for what platforms bill."""
    reasons: dict[str, int]
    """Why calls went where they went: how many of the judged ones."""
    backends: dict[str, int]
    """Where they were answered."""
    refused: dict[str, int]
    """Those without an answer, by the error's code."""
    billed: dict[str, float]
    """What platforms bill in US dollars, by what their workers did: start, run, idle."""
    answer_s: tuple[float, float, float]
    """Seconds from coming to a whole answer, or to a stream's first token, that half, 95 % and 99 %
    of those that were answered did not exceed."""
    hedged: int
    """Calls that a second backend was asked for."""
    hedges_won: int
    """Of these, those that it answered."""


def play(
    policy: Policy,
    traffic: Traffic,
    assumed: Assumed,
    *,
    seed: int = 1,
    advanced: Callable[[int], object] = lambda _: None,
) -> PlayedPolicy:
    """Plays all of it; ``advanced`` is told now and then how many calls have come. Raises
    SettingError where a backend's settings are none of its kind's."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        loop = runner.get_loop()
        assert isinstance(loop, VirtualLoop)
        return runner.run(_Play(policy, traffic, assumed, loop, seed, advanced).run())


class _Play:
    def __init__(
        self,
        policy: Policy,
        traffic: Traffic,
        assumed: Assumed,
        loop: VirtualLoop,
        seed: int,
        advanced: Callable[[int], object],
    ) -> None:
        self._policy, self._traffic, self._assumed = policy, traffic, assumed
        self._advanced = advanced
        self._begins = traffic.arrivals[0].at - _UP_BEFORE_S
        self._bounds_answers = _bounds_answers(policy)
        self._clock = VirtualClock(loop, _midnight(assumed.now, traffic) + self._begins)
        self._measured = Measured(traffic)
        self._running: dict[str, RunningCall] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._keeps = bool(policy.warm_pool)
        self._called: set[str] = set()
        """Models."""
        self._stirred = asyncio.Event()
        draw = random.Random(seed)
        around = Surroundings(
            self._clock,
            seed,
            self._measured,
            self._running,
            SecondRuns(traffic.arrivals, seed),
            streams=_begins_matter(policy),
            begins=self._begins,
        )
        self._backends = {
            name: self._simulated(spec, around) for name, spec in policy.backends.items()
        }
        self._gateway = VirtualGateway(
            policy, self._backends, RowSums(self._settled), self._clock, draw
        )
        self._callers = Callers(self._gateway.active, assumed.model, self._clock)

    def _simulated(self, spec: BackendSpec, around: Surroundings) -> Simulated:
        made = class_for(spec.kind, spec.settings)
        real = made(spec.name, spec.settings, self._clock)
        return simulated(spec, real, around, self._assumed.slots.get(spec.name))

    async def run(self) -> PlayedPolicy:
        tending = [asyncio.create_task(self._probe()), asyncio.create_task(self._tend())]
        for number, arrival in enumerate(self._traffic.arrivals):
            left_s = arrival.at - self._begins - self._clock.monotonic()
            if left_s > 0:
                await asyncio.sleep(left_s)
            self._come(number, arrival)
            if number % _TELL_EVERY == 0:
                self._advanced(number)
        while self._tasks:
            await asyncio.wait(self._tasks)
        left_s = self._traffic.judged_until - self._begins - self._clock.monotonic()
        await asyncio.sleep(max(left_s, 0.0))
        for task in tending:
            task.cancel()
        await asyncio.wait(tending)
        await self._gateway.aclose()
        return self._played()

    # --- calls --------------------------------------------------------------------------------

    def _come(self, number: int, arrival: Arrival) -> None:
        task = asyncio.create_task(self._call(number, arrival))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self._stirred.set()

    async def _call(self, number: int, arrival: Arrival) -> None:
        active, measured = self._gateway.active, self._measured
        state = self._callers.call(number, arrival)
        one = self._running[state.call.id] = RunningCall(arrival)
        code = await self._ask(state)
        del self._running[state.call.id]
        model = state.asked_model
        self._called.add(model)
        slo_s = active.slo(model, state.route) if state.route else self._policy.models[model].slo
        first = one.runs[0] if one.runs and not code else None
        began = None if first is None else self._begins + first.began
        cold = first is not None and first.cold
        now = self._begins + self._clock.monotonic()
        measured.call(arrival.at, began, now, slo_s, cold=cold)
        if measured.is_judged(arrival.at):
            measured.went(state, code)

    def _looking_after(self, state: CallState) -> contextlib.AbstractContextManager[None]:
        """Guesses of silence are none of a replay, whose calls all have their answers."""
        active = self._gateway.active
        if not self._bounds_answers:
            return contextlib.nullcontext()
        return Looks(self._clock, self._gateway.dispatcher.patience(active, state))

    async def _ask(self, state: CallState) -> str:
        """The whole of a call; the code of the error, where it has no answer, or no whole one."""
        try:
            with self._looking_after(state):
                answer = await self._gateway.dispatcher.ask(self._gateway.active, state)
        except ApiError as error:
            return error.code
        waited_s = self._clock.monotonic() - state.received
        self._measured.answered(self._begins + state.received, waited_s)
        if isinstance(answer, SettledStream):
            async with answer:
                async for _ in answer:
                    pass
            if answer.is_cut:
                return "" if state.ending is None else state.ending.row.error
        return ""

    def _settled(self, row: LedgerRow) -> None:
        if row.cost_nano:
            price = self._gateway.active.backends[row.backend].price
            if price is not None and not price.reserved:
                at = self._begins + row.started_at - self._clock.time() + self._clock.monotonic()
                self._measured.charged(at, row.cost_nano)

    # --- what a gateway does beside them --------------------------------------------------------

    async def _probe(self) -> None:
        """Asks backends how they are."""
        while True:
            await self._gateway.prober.tick()
            await self._pause()

    async def _tend(self) -> None:
        """The warm pool, and what platforms bill after calls."""
        gateway, clock = self._gateway, self._clock
        booked = 0.0
        while True:
            if self._keeps:
                gateway.keeper.tick()
            if clock.monotonic() - booked >= _BOOK_EVERY_S:
                booked = clock.monotonic()
                await gateway.tails.book()
            looks = int(await self._pause() / _TICK_S) - 1
            if looks > 0 and self._keeps:
                gateway.plans.rest(looks)

    async def _pause(self) -> float:
        """Until it is time to look again: while all is quiet when a call comes, and not for long.
        Returns how many seconds that took."""
        if not self._keeps:
            await asyncio.sleep(_QUIET_S)
            return _QUIET_S
        if not self._is_quiet:
            await asyncio.sleep(_TICK_S)
            return _TICK_S
        began = self._clock.monotonic()
        self._stirred.clear()
        try:
            async with asyncio.timeout(_QUIET_S):
                await self._stirred.wait()
        except TimeoutError:
            pass
        return self._clock.monotonic() - began

    @property
    def _is_quiet(self) -> bool:
        if self._tasks:
            return False
        platforms = (one for one in self._backends.values() if isinstance(one, SimulatedPlatform))
        return not any(one.pool.up or one.pool.starting or one.pool.minimum for one in platforms)

    # --- the end --------------------------------------------------------------------------------

    def _played(self) -> PlayedPolicy:
        measured = self._measured
        per_hour, workers = self._reserved()
        return PlayedPolicy(
            outcome=measured.outcome(per_hour, workers),
            charged_usd=measured.charged_usd,
            reasons=dict(measured.reasons.most_common()),
            backends=dict(measured.backends.most_common()),
            refused=dict(measured.refused.most_common()),
            billed=dict(measured.by_part),
            answer_s=measured.answer_s,
            hedged=measured.hedged,
            hedges_won=measured.hedges_won,
        )

    def _reserved(self) -> tuple[float, int]:
        """(US dollars an hour, workers) of what is paid for in any case, for the models that were
        called."""
        per_hour, workers = 0.0, 0
        serving = {name for model in self._called for name in self._policy.models[model].backends}
        for name, backend in self._backends.items():
            if name not in serving or not isinstance(backend, SimulatedMachine):
                continue
            price = self._gateway.active.backends[name].price
            if price is not None and not price.reserved:
                continue
            slots = backend.slots or 1
            workers += slots
            per_hour += self._per_hour(name, slots, 0 if price is None else price.per_hour or 0)
        return per_hour, workers

    def _per_hour(self, name: str, slots: int, nano: int) -> float:
        given = self._assumed.reserved_per_hour
        if given is not None:
            return given * slots
        committed = [
            one.hourly_nano for one in self._policy.commitments.values() if one.backend == name
        ]
        if committed:
            return sum(committed) / NANO
        changed = self._assumed.slots.get(name)
        units = units_of(self._policy.backends[name]) if changed is None else changed
        return nano * units / NANO


def _bounds_answers(policy: Policy) -> bool:
    """Whether the policy says after how long any answer is late."""
    bounds = [(one.first_token, one.answer) for one in policy.routes]
    commons = [one.common for one in policy.backends.values()]
    bounds += [(one.first_token, one.answer) for one in commons]
    return any(isinstance(bound, float) for each in bounds for bound in each)


def _begins_matter(policy: Policy) -> bool:
    """Whether anything is decided by when a stream begins."""
    routes, backends = policy.routes, policy.backends.values()
    return any(one.hedge or isinstance(one.first_token, float) for one in routes) or any(
        isinstance(one.common.first_token, float) for one in backends
    )


def _midnight(now: float, traffic: Traffic) -> float:
    """The last midnight (UTC) on a day of the week on which the recording may have begun, where it
    says so; else today's."""
    today = now // DAY_S * DAY_S
    if traffic.weekday is None:
        return today
    weekday = datetime.datetime.fromtimestamp(today, datetime.UTC).weekday()
    return today - (weekday - traffic.weekday) % 7 * DAY_S
