"""The backends of a policy, simulated: they take what the real ones would, and run each call for as
long as it was recorded to run."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping

import msgspec

from adapters.base import Backend, Scalable, Warmable
from adapters.errors import BackendError, FailureClass
from adapters.types import Call, Capabilities, Probe, Reply, Usage
from gateway.backends.current_price import CurrentPrice
from gateway.clock import Clock
from gateway.money.pricing import charge
from gateway.policy.model import BackendSpec
from gateway.replay.policy_scenario import machine_slots, start_samples
from gateway.replay.traffic import Arrival
from gateway.replay.virtual.machines import Machine
from gateway.replay.virtual.measured import Measured
from gateway.replay.virtual.workers import TakenWorker, WorkerPool

_IDLE_S = 60.0
"""Where the policy does not say how long workers stay."""
ROUND_TRIP_S = 0.05
"""Until a platform has answered a question about its workers, or has been told of them."""
_PING = Arrival(0.0, 0.1)
"""The cheapest real call."""


class RunningCall(msgspec.Struct):
    """A call on its way: what was recorded of it, and what becomes of it."""

    arrival: Arrival
    began: float | None = None
    """When it has begun to run, by the clock."""
    cold: bool = False
    """It has waited for a start."""


class Surroundings(msgspec.Struct, frozen=True):
    """What all of them share."""

    clock: Clock
    draw: random.Random
    measured: Measured
    calls: Mapping[str, RunningCall]
    """Those on their way, by their ids."""
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

    def _call(self, call: Call) -> RunningCall:
        return self._around.calls[call.id]

    def _recorded(self, instant: float) -> float:
        """The clock's instant in the recording."""
        return self._around.begins + instant

    async def _run(self, one: RunningCall, sent: float, deadline: float) -> Usage:
        """For as long as it was recorded to. Raises BackendError where nobody waits so long."""
        now = self._around.clock.monotonic()
        one.began = now
        arrival = one.arrival
        left_s = deadline - now
        await asyncio.sleep(min(arrival.runs_s, max(left_s, 0.0)))
        if arrival.runs_s > left_s:
            raise BackendError(FailureClass.TIMEOUT, "The call ran for too long.")
        waited_s, read = now - sent, max(arrival.tokens - arrival.output, 0)
        return Usage(
            input_tokens=read,
            output_tokens=arrival.output,
            queue_s=0.0 if one.cold else waited_s,
            cold_s=waited_s if one.cold else 0.0,
            exec_s=arrival.runs_s,
            gpu_s=arrival.runs_s,
            reported=True,
        )


class SimulatedMachine(_Simulated):
    """One that is there in any case: a reserved one, or a provider's endpoint."""

    def __init__(self, capabilities: Capabilities, around: Surroundings, slots: int | None) -> None:
        super().__init__(capabilities, around)
        self.machine = Machine(slots)

    @property
    def slots(self) -> int | None:
        """Calls that it runs at once."""
        return self.machine.slots

    async def invoke(self, call: Call) -> Reply:
        """Raises BackendError where it ran for too long."""
        one, sent = self._call(call), self._around.clock.monotonic()
        await self.machine.take()
        try:
            used = await self._run(one, sent, call.deadline)
        finally:
            self.machine.give_back()
        price = self.charged.price
        if price is not None and not price.reserved:
            self._around.measured.run(one.arrival.at, charge(price, used))
        return Reply(body=b"{}", usage=used)

    async def probe(self) -> Probe:
        """It is well."""
        return Probe(ready=True, running=self.machine.busy, queued=self.machine.waiting)

    async def aclose(self) -> None:
        """There is nothing to close."""


class SimulatedPlatform(_Simulated):
    """One that scales from zero."""

    slots = None

    def __init__(self, capabilities: Capabilities, around: Surroundings, spec: BackendSpec) -> None:
        super().__init__(capabilities, around)
        cold, idle_s = spec.common.cold_start, spec.common.idle_timeout
        assert cold is not None
        self.pool = WorkerPool(
            start_samples(cold),
            _IDLE_S if idle_s is None else idle_s,
            around.clock,
            around.draw,
            self._spent,
        )

    def _spent(self, did: str, begin: float, end: float) -> None:
        measured = self._around.measured
        measured.worker(did, self._recorded(begin), self._recorded(end), self.charged.price)

    async def invoke(self, call: Call) -> Reply:
        """Raises BackendError where no worker came, or it ran for too long."""
        return Reply(body=b"{}", usage=await self._serve(self._call(call), call.deadline))

    async def _serve(self, one: RunningCall, deadline: float) -> Usage:
        clock, pool = self._around.clock, self.pool
        sent = clock.monotonic()
        taken = pool.take() or await self._wait(deadline)
        one.cold = taken.fresh
        began = clock.monotonic()
        try:
            used = await self._run(one, sent, deadline)
        finally:
            pool.give_back(taken)
            ended = clock.monotonic()
            self._spent("run", began, ended)
        # The start is billed by itself, from its own beginning.
        alone = msgspec.structs.replace(used, cold_s=0.0)
        self._around.measured.run(one.arrival.at, charge(self.charged.price, alone))
        return msgspec.structs.replace(used, worker=f"worker-{taken.number}")

    async def _wait(self, deadline: float) -> TakenWorker:
        try:
            async with asyncio.timeout_at(deadline):
                return await self.pool.wait()
        except TimeoutError:
            raise BackendError(FailureClass.NOT_STARTED, "No worker came in time.") from None

    async def ping(self) -> Usage:
        """Wakes a worker, or keeps it awake."""
        now = self._around.clock.monotonic()
        one = RunningCall(msgspec.structs.replace(_PING, at=self._recorded(now)))
        return await self._serve(one, float("inf"))

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
        found = machine_slots(spec) if slots is None else slots
        return SimulatedMachine(real.capabilities, around, found)
    if isinstance(real, Scalable):
        return TellablePlatform(real.capabilities, around, spec)
    platform = SimulatedPlatform(real.capabilities, around, spec)
    if not isinstance(real, Warmable):
        platform.ping = None  # type: ignore[method-assign, assignment]
    return platform
