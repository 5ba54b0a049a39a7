"""The workers as their caller knows them: started, reachable, ready, dead, started again."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Coroutine, Mapping
from functools import partial

from local_runtime.client.connection import WorkerConnection
from local_runtime.client.discovery import Discovery, Restarted, Told
from local_runtime.client.residency import LoadTimes
from local_runtime.client.start_times import still_to_come, waited_for
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
AWAY = 4.0
"""Calls for each slot that a worker with the model may have more than one that has room for it; the
other distances of ``holdings`` count in proportion."""
KEEP_S = 1.0
"""How long a worker may take to say what a cancelled call has used."""


def _unheard() -> None:
    """Nobody asked to be told."""


class Workers:
    """Keeps a connection to each worker that the roster tells of and that is ready.

    ``links`` and ``slots`` are up to date at every instant, so reading them costs nothing;
    ``changed`` is called whenever a worker's state or its slots are others.
    """

    def __init__(
        self,
        name: str,
        roster: Discovery,
        limit: int,
        clock: Clock,
        changed: Callable[[], None] = _unheard,
    ) -> None:
        self.links: tuple[WorkerConnection, ...] = ()
        """Of the workers that are ready."""
        self.slots = 0
        self.times = LoadTimes()
        self.deaths = 0
        """Workers that ended unasked so far."""
        self._name = name
        self._changed = changed
        self._limit = limit
        self._clock = clock
        self._roster = roster
        self._states: dict[int, WorkerChanged] = {}
        self._spares: dict[int, WorkerChanged] = {}
        self._changed_at: dict[int, float] = {}
        self._none_since = clock.monotonic()
        """When there was last a worker to tell of."""
        self._out_of_reach: dict[int, str] = {}
        """Why there is no connection to a worker that should be ready."""
        self._sought: set[WorkerChanged] = set()
        """Those to which a connection is made and kept."""
        self._open: dict[WorkerConnection, WorkerChanged] = {}
        """Whose each connection is; that of a worker on its way out may be one of them."""
        self._stages: dict[str, float] = {}
        self._waiting: dict[asyncio.Future[None], float] = {}
        self._last_death = ""
        """Why the worker that died last did: it may be started again at once."""
        self._closing = False
        self._sweeper: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def starting(self) -> int:
        return sum(state.state == "starting" for state in self._states.values())

    @property
    def spares(self) -> int:
        """Spares that wait to take a worker's place."""
        return sum(state.state == "waiting" for state in self._spares.values())

    @property
    def start_stages(self) -> Mapping[str, float]:
        """Seconds of each stage of the last start that was seen; empty before."""
        return self._stages

    @property
    def detail(self) -> str:
        """Why there are fewer workers than there should be, in one line."""
        for state in self._states.values():
            if state.state == "defunct":
                again = "" if state.retry_s is not None else "; it is not started again"
                return f"worker {state.index}: {state.detail}{again}"
            if state.state == "new" and state.detail:
                return f"worker {state.index} {state.detail}"
        for index, why in self._out_of_reach.items():
            return f"worker {index}: {why}"
        if self.starting:
            after = f"; {self._last_death}" if self._last_death else ""
            return f"{self.starting} starting{after}"
        return self._roster.detail

    @property
    def hopeless(self) -> bool:
        """No worker runs, and none will be started again."""
        states = self._states.values()
        return bool(states) and all(
            state.state == "defunct" and state.retry_s is None for state in states
        )

    def start(self) -> None:
        if self._sweeper is None and not self._closing:
            self._sweeper = asyncio.create_task(self._sweep())
            self._roster.start(self._heard)

    def roomiest(self, model: str = "") -> WorkerConnection | None:
        """The ready worker with the most room; None while there is none. Of an app with models one
        that has the model goes before one that loads it, and one with memory for it before those
        that would have to evict another."""
        links = self.links
        if len(links) == 1:
            link: WorkerConnection | None = links[0]
        elif model and links and links[0].stock is not None:
            link = min(links, key=partial(_load_with, model, self._clock.monotonic()))
        else:
            link = min(links, key=_load, default=None)
        return link if link is not None and link.slots else None

    def load_in(self, model: str) -> float | None:
        """Seconds until the model would be in memory for a call sent now, at the worker that would
        get it: see ``Holdings.load_in``. While none is ready, as many as a load takes."""
        if model not in self.times.sizes:
            return 0.0
        link = self.roomiest(model)
        if link is None or link.holdings is None:
            return self.times.after_start(model)
        return link.holdings.load_in(model, link.slots, self._clock.monotonic())

    def retry_after(self) -> float:
        """A guess at the seconds until a worker is ready, at least 1."""
        ready_in = self.ready_in()
        return 60.0 if ready_in is None else max(1.0, ready_in)

    def ready_in(self) -> float | None:
        """Seconds until a worker should be ready, by the starts that were seen; 0 when one is;
        None when none will be without another policy."""
        if self.slots:
            return 0.0
        if self._closing or self.hopeless:
            return None
        now = self._clock.monotonic()
        if not self._states:
            return still_to_come(waited_for(self._stages, "none"), now - self._none_since)
        waits = [self._ready_in(state, now) for state in self._states.values()]
        known = [wait for wait in waits if wait is not None]
        return min(known, default=waited_for(self._stages, "none"))

    def _ready_in(self, state: WorkerChanged, now: float) -> float | None:
        if state.state == "ready" and state.index not in self._out_of_reach:
            return 0.0
        if state.state == "defunct" and state.retry_s is None:
            return None
        expected = waited_for(self._stages, state.ahead) + (state.retry_s or 0.0)
        return still_to_come(expected, now - self._changed_at[state.index])

    async def wait_ready(self, deadline: float) -> bool:
        """Waits until a worker takes calls, to ``deadline`` at the latest; whether one does."""
        if not self.slots and not self.hopeless and len(self._waiting) < MAX_WAITING:
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
        """The numbers of the workers that were told of."""
        return frozenset(self._states)

    def entries_of(self, index: int) -> int | None:
        """Calls that a worker has not answered; None while there is no connection to it."""
        link = self._link_of(index)
        return None if link is None else len(link.entries)

    def dismiss(self, index: int) -> None:
        """Gives a worker no new calls; those that it has go on."""
        if (link := self._link_of(index)) is not None:
            link.dismiss()

    def _link_of(self, index: int) -> WorkerConnection | None:
        """The last that was made, where there are two."""
        links = reversed(self.links)
        return next((link for link in links if self._open[link].index == index), None)

    async def aclose(self) -> None:
        """Closes every connection; what the roster has started is ended."""
        self._closing = True
        self._wake()
        for link in self._open:
            link.connection.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._sweeper is not None:
            self._sweeper.cancel()
            await asyncio.gather(self._sweeper, return_exceptions=True)
        await self._roster.aclose()

    async def _sweep(self) -> None:
        """One timer for all deadlines, so that a call needs none of its own."""
        while True:
            await self._clock.sleep(SWEEP_S)
            now = self._clock.monotonic()
            for link in self.links:
                if link.entries:
                    link.sweep(now, KEEP_S)
            self._wake(now)

    def _wake(self, late: float = math.inf) -> None:
        """Lets those go on who wait for a worker, and whose deadline is not after ``late``."""
        for waiter, deadline in self._waiting.items():
            if deadline <= late and not waiter.done():
                waiter.set_result(None)

    # --- what the roster tells ------------------------------------------------------------------

    def _heard(self, told: Told) -> None:
        if isinstance(told, Restarted):
            self._spares.clear()
            for index in tuple(self._states):
                self._forget(index)
        elif isinstance(told, Retired):
            self._forget(told.index)
            self._changed()
        else:
            self._worker_changed(told)

    def _forget(self, index: int) -> None:
        self._states.pop(index, None)
        self._changed_at.pop(index, None)
        self._out_of_reach.pop(index, None)
        self._none_since = self._clock.monotonic()

    def _worker_changed(self, event: WorkerChanged) -> None:
        if event.spare:
            self._spares[event.index] = event
        else:
            self._states[event.index] = event
            self._changed_at[event.index] = self._clock.monotonic()
            self._out_of_reach.pop(event.index, None)
        if event.state == "ready":
            self._seek(event)
        elif event.state == "defunct" and not self._closing:
            self._died(event)
        self._changed()

    def _died(self, event: WorkerChanged) -> None:
        link = None if event.spare else self._link_of(event.index)
        if link is not None:
            link.dismiss()
            self._spawn(self._cut_off(link))
        self.deaths += not event.spare
        what = "spare" if event.spare else "worker"
        if not event.spare:
            self._last_death = f"worker {event.index}: {event.detail}"
        log.error("backend %s, %s %d: %s", self._name, what, event.index, event.detail)
        if self.hopeless:
            self._wake()

    # --- connections ---------------------------------------------------------------------------

    def _seek(self, event: WorkerChanged) -> None:
        """Makes and keeps a connection, unless that goes on already."""
        if event not in self._sought:
            self._sought.add(event)
            self._spawn(self._keep_connected(event))

    async def _keep_connected(self, event: WorkerChanged) -> None:
        """Connects to a worker, again and again while it is said to be ready."""
        pause = 0.0
        try:
            while True:
                await self._clock.sleep(pause)
                if self._states.get(event.index) != event:
                    return
                link = await self._connect(event)
                pause = CONNECT_S if link.ready else min(1.0, max(CONNECT_S, pause * 2))
        finally:
            self._sought.discard(event)

    async def _connect(self, event: WorkerChanged) -> WorkerConnection:
        """One connection, which has ended when this returns."""
        name = f"{self._name}-{event.index}"
        link = WorkerConnection(
            name, self._link_changed, self._limit, self._clock.monotonic, self.times
        )
        self._open[link] = event
        try:
            await dial(event.path, partial(getattr, link, "connection"))
        except OSError as error:
            del self._open[link]
            self._miss(event, f"it cannot be reached: {error.strerror or error}")
            return link
        if event.index not in self._out_of_reach:
            self._miss(event, "it has not said yet what it serves")
        await asyncio.shield(link.ended)
        return link

    def _miss(self, event: WorkerChanged, why: str) -> None:
        """There is no connection to a worker that should be ready."""
        index = event.index
        if self._states.get(index) != event or self._link_of(index) is not None:
            return
        if index not in self._out_of_reach:
            self._changed_at[index] = self._clock.monotonic()
        self._out_of_reach[index] = why

    async def _cut_off(self, link: WorkerConnection) -> None:
        """A machine that vanished has closed nothing, and a process that the worker forked may
        hold its socket; what it said before its end may still be read."""
        await self._clock.sleep(CUT_OFF_S)
        link.connection.abort()

    def _link_changed(self, link: WorkerConnection) -> None:
        """A link became ready, changed its slots, or is gone: its worker died, or cut it off."""
        event = self._open[link]
        if link.gone:
            del self._open[link]
        else:
            self._stages = link.start_stages
            self._out_of_reach.pop(event.index, None)
        self.links = tuple(link for link in self._open if link.ready)
        self.slots = sum(link.slots for link in self.links)
        if link.gone:
            self._lost(event, link)
        if self.slots and self._waiting:
            self._wake()
        self._changed()

    def _lost(self, event: WorkerChanged, link: WorkerConnection) -> None:
        before = self._out_of_reach.get(event.index)
        self._miss(event, link.why)
        if not link.ready and link.why != before and not self._closing:
            log.error("backend %s, worker %d: %s", self._name, event.index, link.why)

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _load(link: WorkerConnection) -> float:
    return (len(link.entries) + link.others) / link.slots if link.slots else float("inf")


def _load_with(model: str, now: float, link: WorkerConnection) -> float:
    holdings = link.holdings
    return _load(link) + (0.0 if holdings is None else AWAY * holdings.distance(model, now))
