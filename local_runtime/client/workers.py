"""The workers as their caller knows them: started, reachable, ready, dead, started again."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Mapping
from functools import partial

from local_runtime.background import TaskSet
from local_runtime.client.connection import WorkerConnection
from local_runtime.client.discovery import Discovery, DiscoveryEvent, Restarted
from local_runtime.client.residency import LoadTimes
from local_runtime.client.start_times import waited_for
from local_runtime.client.worker_states import WorkerStates
from local_runtime.clock import Clock
from local_runtime.protocol.events import WorkerChanged
from local_runtime.protocol.scale_events import Retired
from local_runtime.protocol.sockets import dial

log = logging.getLogger("spillgate.local")

CONNECT_S = 0.1
"""Between attempts to reach a worker that should be ready; doubled up to a second."""
CUT_OFF_S = 2.0
"""What a worker that has died on another machine may still have said."""
SWEEP_S = 0.025
"""A call past its deadline is failed at most so much later."""
MAX_WAITING = 1000
"""Calls that may wait for a worker that starts."""
IN_VAIN = 2
"""Starts in a row that came to nothing, after which no call waits for the next one."""
DISTANCE_WEIGHT = 4.0
"""Calls for each slot that a worker with the model may have more than one that has room for it; the
other distances of ``residency`` count in proportion."""
KEEP_S = 1.0
"""How long a worker may take to say what a cancelled call has used."""


def _ignore() -> None:
    """Nobody asked to be called."""


class Workers:
    """Keeps a connection to each worker that ``discovery`` finds and that is ready.

    ``connections`` and ``slots`` are up to date at every instant, so reading them costs nothing;
    ``changed`` is called whenever a worker's state or its slots have changed.
    """

    def __init__(
        self,
        name: str,
        discovery: Discovery,
        limit: int,
        clock: Clock,
        changed: Callable[[], None] = _ignore,
    ) -> None:
        self.connections: tuple[WorkerConnection, ...] = ()
        """Of the workers that are ready."""
        self.slots = 0
        self.times = LoadTimes()
        self.deaths = 0
        """Workers that ended unasked so far."""
        self._name = name
        self._changed = changed
        self._limit = limit
        self._clock = clock
        self._discovery = discovery
        self._states = WorkerStates(clock.monotonic())
        self._kept: set[WorkerChanged] = set()
        """Those to which a connection is made and kept."""
        self._open: dict[WorkerConnection, WorkerChanged] = {}
        """Whose each connection is; that of a worker on its way out may be one of them."""
        self._waiting: dict[asyncio.Future[None], float] = {}
        """Those who wait until a worker takes calls, and until when at the latest."""
        self._expected = 1
        """Workers that there should be, where they come and go."""
        self._closing = False
        self._started = False
        self._tasks = TaskSet()

    @property
    def starting(self) -> int:
        """Workers whose start goes on."""
        return self._states.starting

    @property
    def spares(self) -> int:
        """Spares that wait to take a worker's place."""
        return self._states.spares

    @property
    def start_stages(self) -> Mapping[str, float]:
        """Seconds of each stage of the last start that was seen; empty before."""
        return self._states.start_stages

    @property
    def detail(self) -> str:
        """Why there are fewer workers than there should be, in one line."""
        return self._states.detail or self._discovery.detail

    @property
    def hopeless(self) -> bool:
        """No worker runs, and none will be started again."""
        return self._states.hopeless

    @property
    def failed_starts(self) -> int:
        """How many starts in a row came to nothing for every worker; 0 where one last did not."""
        return self._states.failed_starts

    def start(self) -> None:
        """Looks for workers and connects to them, from now on until it is closed."""
        if not self._started and not self._closing:
            self._started = True
            self._tasks.start(self._sweep())
            self._discovery.start(self._on_discovery)

    def least_loaded(self, model: str = "") -> WorkerConnection | None:
        """The ready worker with the most room; None while there is none. Of an app with models one
        that has the model goes before one that loads it, and one with memory for it before those
        that would have to evict another."""
        found = self.connections
        if len(found) == 1:
            least: WorkerConnection | None = found[0]
        elif model and found and found[0].residency is not None:
            least = min(found, key=partial(_load_with, model, self._clock.monotonic()))
        else:
            least = min(found, key=_load, default=None)
        return least if least is not None and least.slots else None

    def load_in(self, model: str) -> float | None:
        """Seconds until the model would be in memory for a call sent now, at the worker that would
        get it: see ``Residency.load_in``. While none is ready, as many as a load takes."""
        if model not in self.times.sizes:
            return 0.0
        least = self.least_loaded(model)
        if least is None or least.residency is None:
            return self.times.after_start(model)
        return least.residency.load_in(model, least.slots, self._clock.monotonic())

    def retry_after(self) -> float:
        """A guess at the seconds until a worker is ready, at least 1."""
        ready_in = self.ready_in()
        return 60.0 if ready_in is None else max(1.0, ready_in)

    def ready_in(self) -> float | None:
        """Seconds until a worker should be ready, by the starts that were seen; 0 when one is;
        None when none will be without another policy."""
        if self.slots:
            return 0.0
        if self._closing:
            return None
        if not self._expected and not self._states.known:
            return waited_for(self._states.start_stages, "none")
        expected = self._states.ready_in(self._clock.monotonic())
        if expected == 0.0:  # it takes no calls: its handler should have come back and has not
            return waited_for(self._states.start_stages, "none")
        return expected

    async def wait_ready(self, deadline: float) -> bool:
        """Waits until a worker takes calls, to ``deadline`` at the latest, and not where no start
        goes well; whether one does."""
        if not self.slots and not self._is_vain and len(self._waiting) < MAX_WAITING:
            waiter = asyncio.get_running_loop().create_future()
            self._waiting[waiter] = deadline
            try:
                await waiter
            finally:
                del self._waiting[waiter]
        return self.slots > 0

    # --- workers that come and go --------------------------------------------------------------

    @property
    def known(self) -> frozenset[int]:
        """The numbers of the workers that were found."""
        return self._states.known

    def calls_of(self, index: int) -> int | None:
        """Calls that a worker has not answered; None while there is no connection to it."""
        connection = self._connection_of(index)
        return None if connection is None else len(connection.calls)

    def dismiss(self, index: int) -> None:
        """Gives a worker no new calls; those that it has go on."""
        if (connection := self._connection_of(index)) is not None:
            connection.dismiss()

    def expect(self, workers: int) -> None:
        """So many should be there, or on their way."""
        if workers and not self._expected:
            self._states.none_until(self._clock.monotonic())
        self._expected = workers

    def _connection_of(self, index: int) -> WorkerConnection | None:
        """The last that was made, where there are two."""
        newest = reversed(self.connections)
        return next((one for one in newest if self._open[one].index == index), None)

    async def aclose(self) -> None:
        """Closes every connection, and ends what ``discovery`` has started."""
        self._closing = True
        self._wake()
        for connection in self._open:
            connection.socket.close()
        await self._tasks.aclose()
        await self._discovery.aclose()

    async def _sweep(self) -> None:
        """One timer for all deadlines, so that a call needs none of its own."""
        while True:
            await self._clock.sleep(SWEEP_S)
            now = self._clock.monotonic()
            for connection in self.connections:
                if connection.calls:
                    connection.sweep(now, KEEP_S)
                connection.socket.memory.trim(now)
            self._wake(now)

    def _wake(self, late: float = math.inf) -> None:
        """Lets those go on who wait for a worker, and whose deadline is not after ``late``."""
        for waiter, deadline in self._waiting.items():
            if deadline <= late and not waiter.done():
                waiter.set_result(None)

    # --- what is discovered ---------------------------------------------------------------------

    def _on_discovery(self, event: DiscoveryEvent) -> None:
        if isinstance(event, Restarted):
            self._states.forget_all(self._clock.monotonic())
        elif isinstance(event, Retired):
            self._states.forget(event.index, self._clock.monotonic())
            self._changed()
        else:
            self._worker_changed(event)

    def _worker_changed(self, event: WorkerChanged) -> None:
        self._states.change(event, self._clock.monotonic())
        if event.state == "ready":
            self._keep_connection(event)
        elif event.state == "defunct" and not self._closing:
            self._died(event)
        self._changed()

    def _died(self, event: WorkerChanged) -> None:
        connection = None if event.spare else self._connection_of(event.index)
        if connection is not None:
            connection.dismiss()
            self._tasks.start(self._cut_off(connection))
        self.deaths += not event.spare
        what = "spare" if event.spare else "worker"
        log.error("backend %s, %s %d: %s", self._name, what, event.index, event.detail)
        if self._is_vain:
            self._wake()

    @property
    def _is_vain(self) -> bool:
        """To wait for a worker: one start may fail by chance, as beside one that still ends."""
        return self.hopeless or self.failed_starts >= IN_VAIN

    # --- connections ---------------------------------------------------------------------------

    def _keep_connection(self, event: WorkerChanged) -> None:
        """Makes and keeps a connection, unless that goes on already."""
        if event not in self._kept:
            self._kept.add(event)
            self._tasks.start(self._keep_connected(event))

    async def _keep_connected(self, event: WorkerChanged) -> None:
        """Connects to a worker, again and again while it is said to be ready."""
        pause = 0.0
        try:
            while True:
                await self._clock.sleep(pause)
                if not self._states.is_current(event):
                    return
                connection = await self._connect(event)
                pause = CONNECT_S if connection.ready else min(1.0, max(CONNECT_S, pause * 2))
        finally:
            self._kept.discard(event)

    async def _connect(self, event: WorkerChanged) -> WorkerConnection:
        """One connection, which has ended when this returns."""
        name = f"{self._name}-{event.index}"
        connection = WorkerConnection(
            name, self._connection_changed, self._limit, self._clock.monotonic, self.times
        )
        self._open[connection] = event
        try:
            await dial(
                event.path,
                lambda: connection.socket,
                take_memory=connection.take_memory,
                connected=partial(self._mark_silent, event),
            )
        except OSError as error:
            del self._open[connection]
            self._mark_unreachable(event, f"it cannot be reached: {error.strerror or error}")
            return connection
        await asyncio.shield(connection.ended)
        return connection

    def _mark_silent(self, event: WorkerChanged) -> None:
        if self._states.why_unreachable(event.index) is None:
            self._mark_unreachable(event, "it has not said yet what it serves")

    def _mark_unreachable(self, event: WorkerChanged, why: str) -> None:
        """Notes that there is no connection to a worker that should be ready."""
        if self._states.is_current(event) and self._connection_of(event.index) is None:
            self._states.mark_unreachable(event.index, why, self._clock.monotonic())

    async def _cut_off(self, connection: WorkerConnection) -> None:
        """A machine that vanished has closed nothing, and a process that the worker forked may
        hold its socket; what it said before its end may still be read."""
        await self._clock.sleep(CUT_OFF_S)
        connection.socket.abort()

    def _connection_changed(self, connection: WorkerConnection) -> None:
        """One became ready, changed its slots, or is gone: its worker died, or cut it off."""
        event = self._open[connection]
        if connection.gone:
            del self._open[connection]
        else:
            self._states.start_stages = connection.facts.start_stages
            self._states.mark_reachable(event.index)
        self.connections = tuple(one for one in self._open if one.ready)
        self.slots = sum(one.slots for one in self.connections)
        if connection.gone:
            self._lost(event, connection)
        if self.slots and self._waiting:
            self._wake()
        self._changed()

    def _lost(self, event: WorkerChanged, connection: WorkerConnection) -> None:
        before, why = self._states.why_unreachable(event.index), connection.ended.result()
        self._mark_unreachable(event, why)
        if not connection.ready and why != before and not self._closing:
            log.error("backend %s, worker %d: %s", self._name, event.index, why)


def _load(connection: WorkerConnection) -> float:
    """Calls for each slot."""
    slots = connection.slots
    return (len(connection.calls) + connection.others) / slots if slots else float("inf")


def _load_with(model: str, now: float, connection: WorkerConnection) -> float:
    residency = connection.residency
    distance = 0.0 if residency is None else residency.distance(model, now)
    return _load(connection) + DISTANCE_WEIGHT * distance
