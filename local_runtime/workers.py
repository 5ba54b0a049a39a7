"""The workers as their caller knows them: started, reachable, ready, dead, started again."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import partial

from local_runtime.clock import Clock
from local_runtime.crew_events import FromSupervisor, Keep, Retired
from local_runtime.events import WorkerChanged
from local_runtime.gate import dial, is_remote
from local_runtime.holdings import LoadTimes
from local_runtime.link import Link
from local_runtime.process import END_S, Garbled, SupervisorProcess
from local_runtime.starts import still_to_come, waited_for

log = logging.getLogger("spillgate.local")

CONNECT_S = 0.1
"""Between attempts to reach a worker that should be ready; doubled up to a second."""
RESTART_S = 1.0
"""Before a supervisor that died is started again; doubled up to a minute."""
STABLE_S = 60.0
REAP_S = 2.0
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


def supervisor_arguments(app: str, options: Mapping[str, object]) -> list[str]:
    """The supervisor's command line; options that are None are left to it."""
    given = {name: value for name, value in options.items() if value is not None}
    flags = [text for name, value in given.items() for text in (f"--{name}", str(value))]
    return [*flags, "--", app]


class Workers:
    """Keeps a supervisor running and a connection to each worker that is ready.

    ``links`` and ``slots`` are up to date at every instant, so reading them costs nothing;
    ``changed`` is called whenever a worker's state or its slots are others.
    """

    def __init__(
        self,
        name: str,
        arguments: Sequence[str],
        limit: int,
        clock: Clock,
        changed: Callable[[], None] = _unheard,
        program: str = "local_runtime.supervise",
        sockets: str | None = None,
    ) -> None:
        self.links: tuple[Link, ...] = ()
        """Of the workers that are ready."""
        self.slots = 0
        self.times = LoadTimes()
        self.deaths = 0
        """Workers that ended unasked so far."""
        self._name = name
        self._changed = changed
        self._limit = limit
        self._clock = clock
        self._process = SupervisorProcess(arguments, self._heard, program, sockets)
        self._states: dict[int, WorkerChanged] = {}
        self._spares: dict[int, WorkerChanged] = {}
        self._changed_at: dict[int, float] = {}
        self._connected: dict[int, Link] = {}
        self._stages: dict[str, float] = {}
        self._waiting: dict[asyncio.Future[None], float] = {}
        self._last_death = ""
        """Why the worker that died last did: it may be started again at once."""
        self._closing = False
        self._main: asyncio.Task[None] | None = None
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
        if self.starting:
            after = f"; {self._last_death}" if self._last_death else ""
            return f"{self.starting} starting{after}"
        return ""

    @property
    def hopeless(self) -> bool:
        """No worker runs, and none will be started again."""
        states = self._states.values()
        return bool(states) and all(
            state.state == "defunct" and state.retry_s is None for state in states
        )

    def start(self) -> None:
        if self._main is None and not self._closing:
            self._main = asyncio.create_task(self._keep_running())
            self._sweeper = asyncio.create_task(self._sweep())

    def roomiest(self, model: str = "") -> Link | None:
        """The ready worker with the most room; None while there is none. Of an app with models one
        that has the model goes before one that loads it, and one with memory for it before those
        that would have to evict another."""
        links = self.links
        if len(links) == 1:
            link: Link | None = links[0]
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
        waits = [self._ready_in(state, now) for state in self._states.values()]
        known = [wait for wait in waits if wait is not None]
        return min(known, default=waited_for(self._stages, "none"))

    def _ready_in(self, state: WorkerChanged, now: float) -> float | None:
        if state.state == "ready":
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
        """The numbers of the workers that the supervisor has told of."""
        return frozenset(self._states)

    def keep(self, indices: tuple[int, ...]) -> None:
        """Says which workers there should be; costs nothing while these are the same."""
        self._process.keep(Keep(indices))

    def entries_of(self, index: int) -> int | None:
        """Calls that a worker has not answered; None while there is no connection to it."""
        link = self._connected.get(index)
        return None if link is None else len(link.entries)

    def dismiss(self, index: int) -> None:
        """Gives a worker no new calls; those that it has go on."""
        if (link := self._connected.get(index)) is not None:
            link.dismiss()

    async def aclose(self) -> None:
        self._closing = True
        self._wake()
        self._process.ask_to_end()
        for link in (*self._connected.values(), *self.links):
            link.connection.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._sweeper is not None:
            self._sweeper.cancel()
            await asyncio.gather(self._sweeper, return_exceptions=True)
        if self._main is not None:
            await self._end(self._main)

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

    # --- the supervisor ------------------------------------------------------------------------

    async def _keep_running(self) -> None:
        """Runs the supervisor, and another one should it die."""
        pause = RESTART_S
        while not self._closing:
            began = self._clock.monotonic()
            try:
                problem = f"its supervisor exited with status {await self._process.run()}"
            except OSError as error:
                problem = f"its supervisor could not be started: {error}"
            except Garbled as error:
                problem = f"something prints into its supervisor's stdout: {error}"
            if self._closing:
                return
            stable = self._clock.monotonic() - began > STABLE_S
            pause = RESTART_S if stable else min(60.0, pause * 2)
            self._states.clear()
            self._spares.clear()
            self._worker_changed(WorkerChanged(0, "defunct", detail=problem, retry_s=pause))
            await self._clock.sleep(pause)

    async def _end(self, main: asyncio.Task[None]) -> None:
        """Waits for the end of the supervisor, and forces it when it takes too long."""
        if self._process.running:
            await asyncio.wait({main}, timeout=END_S)
            self._process.kill()
            await asyncio.wait({main}, timeout=REAP_S)
        main.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await main

    def _heard(self, event: FromSupervisor) -> None:
        if isinstance(event, Retired):
            self._states.pop(event.index, None)
            self._changed_at.pop(event.index, None)
            self._changed()
        else:
            self._worker_changed(event)

    def _worker_changed(self, event: WorkerChanged) -> None:
        if event.spare:
            self._spares[event.index] = event
        else:
            self._states[event.index] = event
            self._changed_at[event.index] = self._clock.monotonic()
        if event.state == "ready":
            self._spawn(self._connect(event, 0.0))
        elif event.state == "defunct" and not self._closing:
            self._died(event)
        self._changed()

    def _died(self, event: WorkerChanged) -> None:
        link = self._connected.get(event.index)
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

    async def _connect(self, event: WorkerChanged, pause: float) -> None:
        """Connects to a worker after ``pause`` seconds, trying while it is said to be ready."""
        while True:
            await self._clock.sleep(pause)
            if self._states.get(event.index) is not event:
                return
            name = f"{self._name}-{event.index}"
            changed = partial(self._link_changed, event)
            link = Link(name, changed, self._limit, self._clock.monotonic, self.times)
            link.remote = is_remote(event.path)
            try:
                await dial(event.path, partial(getattr, link, "connection"))
            except OSError:
                pause = min(1.0, max(CONNECT_S, pause * 2))
            else:
                return

    async def _cut_off(self, link: Link) -> None:
        """A machine that vanished has closed nothing, and a process that the worker forked may
        hold its socket; what it said before its end may still be read."""
        await self._clock.sleep(REAP_S)
        link.connection.abort()

    def _link_changed(self, event: WorkerChanged, link: Link) -> None:
        """A link became ready, changed its slots, or is gone: its worker died, or cut it off."""
        if not link.gone:
            self._connected[event.index] = link
            self._stages = link.start_stages
        elif self._connected.get(event.index) is link:
            del self._connected[event.index]
            if not self._closing:
                self._spawn(self._connect(event, CONNECT_S))
        self.links = tuple(self._connected.values())
        self.slots = sum(link.slots for link in self.links)
        if self.slots and self._waiting:
            self._wake()
        self._changed()

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _load(link: Link) -> float:
    return len(link.entries) / link.slots if link.slots else float("inf")


def _load_with(model: str, now: float, link: Link) -> float:
    holdings = link.holdings
    return _load(link) + (0.0 if holdings is None else AWAY * holdings.distance(model, now))
