"""The backends of a policy, simulated: they take what the real ones would, and run each call for as
long as it was recorded to run."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import AsyncGenerator, Mapping

import msgspec

from adapters.base import Backend, Scalable, Warmable
from adapters.errors import BackendError, FailureClass
from adapters.types import Call, Capabilities, Chunk, Probe, Reply, Usage
from gateway.backends.current_price import CurrentPrice
from gateway.clock import Clock
from gateway.money.pricing import charge
from gateway.policy.model import BackendSpec
from gateway.replay.policy_scenario import machine_slots, slots_of, start_samples
from gateway.replay.traffic import Arrival
from gateway.replay.virtual.machines import Machine
from gateway.replay.virtual.measured import Measured
from gateway.replay.virtual.runs import CallRun, RunningCall
from gateway.replay.virtual.second_runs import SecondRuns
from gateway.replay.virtual.workers import TakenWorker, WorkerPool

_IDLE_S = 60.0
"""Where the policy does not say how long workers stay."""
ROUND_TRIP_S = 0.05
"""Until a platform has answered a question about its workers, or has been told of them."""
_PING = Arrival(0.0, 0.1)
"""The cheapest real call."""
_WORD, _DONE = Chunk(b"data: {}\n\n"), Chunk(b"data: [DONE]\n\n", "done")


class Surroundings(msgspec.Struct, frozen=True):
    """What all of them share."""

    clock: Clock
    seed: int
    """The same one draws the same starts of a backend, whatever else is drawn."""
    measured: Measured
    calls: Mapping[str, RunningCall]
    """Those on their way, by their ids."""
    second_runs: SecondRuns
    streams: bool
    """Whether it matters when a stream's first token comes: else its answer is whole."""
    begins: float
    """The instant of the recording at which the clock began."""


class _Simulated:
    """What both kinds have."""

    charged: CurrentPrice
    """What the gateway that asks it knows of its price."""

    def __init__(self, capabilities: Capabilities, around: Surroundings) -> None:
        self.capabilities = capabilities
        self._around = around

    async def start(self) -> None:
        """There is nothing to open."""

    def _recorded(self, instant: float) -> float:
        """The clock's instant in the recording."""
        return self._around.begins + instant

    async def invoke(self, call: Call) -> Reply:
        """Raises BackendError where no worker came, or it ran for too long."""
        one = self._around.calls[call.id]
        if call.stream and self._around.streams:
            return Reply(chunks=self._pieces(one, call.id, call.deadline))
        return Reply(body=b"{}", usage=await self._serve(one, call.id, call.deadline))

    async def _serve(self, one: RunningCall, name: str, deadline: float) -> Usage:
        run, place = await self._begin(one, name, deadline)
        try:
            await self._until(one, run, run.runs_s, deadline)
        finally:
            used = self._end(run, place)
        return used

    async def _pieces(
        self, one: RunningCall, name: str, deadline: float
    ) -> AsyncGenerator[Chunk, None]:
        run, place = await self._begin(one, name, deadline)
        try:
            await self._until(one, run, run.first_token_s, deadline)
            yield _WORD
            await self._until(one, run, run.runs_s, deadline)
        finally:
            used = self._end(run, place)
        yield Chunk(b"", "usage", used)
        yield _DONE

    async def _begin(
        self, one: RunningCall, name: str, deadline: float
    ) -> tuple[CallRun, TakenWorker | None]:
        """When there is a place for it, which it has then."""
        around = self._around
        sent = around.clock.monotonic()
        place = await self._take(deadline)
        cold = place is not None and place.fresh
        run = CallRun(one.arrival, one.arrival.runs_s, sent, around.clock.monotonic(), cold)
        one.begin(name, around.second_runs, run)
        return run, place

    async def _until(self, one: RunningCall, run: CallRun, seconds: float, deadline: float) -> None:
        """So many seconds after the run began. Raises BackendError where nobody waits so long."""
        clock = self._around.clock
        left_s = min(run.began + seconds, deadline) - clock.monotonic()
        await asyncio.sleep(max(left_s, 0.0))
        if run.began + seconds > deadline:
            one.runs.remove(run)
            raise BackendError(FailureClass.TIMEOUT, "The call ran for too long.")

    def _end(self, run: CallRun, place: TakenWorker | None) -> Usage:
        """The place is free, and what was used of it is billed, however the run ended."""
        now = self._around.clock.monotonic()
        used = run.used(now)
        self._leave(run, place, now)
        price = self.charged.price
        if price is not None and not price.reserved:
            # A start is billed by itself, from its own beginning.
            alone = msgspec.structs.replace(used, cold_s=0.0) if run.cold else used
            self._around.measured.run(run.arrival.at, charge(price, alone))
        return used if place is None else msgspec.structs.replace(used, worker=place.name)

    async def _take(self, deadline: float) -> TakenWorker | None:
        """A place for a call; the worker, where those have names. Raises BackendError."""
        raise NotImplementedError

    def _leave(self, run: CallRun, place: TakenWorker | None, now: float) -> None:
        """The place is free."""
        raise NotImplementedError


class SimulatedMachine(_Simulated):
    """One that is there in any case: a reserved one, or a provider's endpoint."""

    def __init__(self, capabilities: Capabilities, around: Surroundings, slots: int | None) -> None:
        super().__init__(capabilities, around)
        self.machine = Machine(slots)

    @property
    def slots(self) -> int | None:
        """Calls that it runs at once."""
        return self.machine.slots

    async def _take(self, deadline: float) -> None:
        await self.machine.take()

    def _leave(self, run: CallRun, place: TakenWorker | None, now: float) -> None:
        self.machine.give_back()

    async def probe(self) -> Probe:
        """It is well."""
        return Probe(ready=True, running=self.machine.busy, queued=self.machine.waiting)

    async def aclose(self) -> None:
        """There is nothing to close."""


class SimulatedPlatform(_Simulated):
    """One that scales from zero."""

    def __init__(self, capabilities: Capabilities, around: Surroundings, spec: BackendSpec) -> None:
        super().__init__(capabilities, around)
        cold, idle_s = spec.common.cold_start, spec.common.idle_timeout
        assert cold is not None
        self.slots = slots_of(spec)
        """Calls that it runs at once, where its kind was told so."""
        self.pool = WorkerPool(
            start_samples(cold),
            _IDLE_S if idle_s is None else idle_s,
            around.clock,
            starts_of(spec.name, around.seed),
            self._spent,
            math.inf if self.slots is None else self.slots,
        )

    def _spent(self, did: str, begin: float, end: float) -> None:
        measured = self._around.measured
        measured.worker(did, self._recorded(begin), self._recorded(end), self.charged.price)

    async def _take(self, deadline: float) -> TakenWorker:
        taken = self.pool.take()
        if taken is not None:
            return taken
        try:
            async with asyncio.timeout_at(deadline):
                return await self.pool.wait()
        except TimeoutError:
            raise BackendError(FailureClass.NOT_STARTED, "No worker came in time.") from None

    def _leave(self, run: CallRun, place: TakenWorker | None, now: float) -> None:
        assert place is not None
        self.pool.give_back(place)
        self._spent("run", run.began, now)

    async def ping(self) -> Usage:
        """Wakes a worker, or keeps it awake."""
        now = self._around.clock.monotonic()
        one = RunningCall(msgspec.structs.replace(_PING, at=self._recorded(now)))
        return await self._serve(one, "ping", float("inf"))

    async def probe(self) -> Probe:
        """As many workers as are up."""
        await asyncio.sleep(ROUND_TRIP_S)
        pool = self.pool
        return Probe(
            ready=pool.up > 0,
            warm_workers=pool.up,
            starting_workers=pool.starting,
            running=pool.busy,
            queued=pool.waiting,
        )

    async def aclose(self) -> None:
        """Its workers end."""
        self.pool.end()


def starts_of(backend: str, seed: int) -> random.Random:
    """What draws how long its workers start, one after another."""
    return random.Random(f"{seed}/{backend}")


class TellablePlatform(SimulatedPlatform):
    """One that can be told how many workers to keep."""

    async def keep_workers(self, minimum: int) -> None:
        """Holds as soon as it is heard."""
        await asyncio.sleep(ROUND_TRIP_S)
        self.pool.keep(minimum)


Simulated = SimulatedMachine | SimulatedPlatform


def simulated(
    spec: BackendSpec, real: Backend, around: Surroundings, slots: int | None = None
) -> Simulated:
    """One like ``real``, of which nothing is asked but what it takes. ``slots``: other ones than
    the policy's."""
    if spec.common.cold_start is None:
        found = slots_of(spec) if slots is None else slots
        alone = machine_slots(spec) is not None
        takes = msgspec.structs.replace(real.capabilities, one_by_one=alone)
        return SimulatedMachine(takes, around, found)
    if isinstance(real, Scalable):
        return TellablePlatform(real.capabilities, around, spec)
    platform = SimulatedPlatform(real.capabilities, around, spec)
    if not isinstance(real, Warmable):
        platform.ping = None  # type: ignore[method-assign, assignment]
    return platform
