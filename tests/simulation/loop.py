"""asyncio's event loop with a clock that leaps and an order that is drawn: what is ready runs in
any order, and time passes only when nothing is."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import random
import warnings
from asyncio import Handle, TimerHandle
from collections.abc import Callable, Coroutine
from contextvars import Context, ContextVar, copy_context
from typing import Any, TypeVar, cast

T = TypeVar("T")

MOST_TURNS = 3_000_000
"""Of one run: more is a loop that turns without end."""


class Stuck(Exception):
    """Something waits for what can never happen, or turns without end."""


class Process:
    """What begins in one dies with it, between any two of its steps, and nothing of it runs again:
    no ``finally`` either."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.is_alive = True
        self.tasks: list[SimulatedTask[Any]] = []

    def begins(self, loop: SimulatedLoop, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """A task of this process, whoever begins it."""
        context = copy_context()
        context.run(PROCESS.set, self)
        return loop.create_task(work, context=context)


PROCESS: ContextVar[Process | None] = ContextVar("PROCESS", default=None)
"""That of the code that runs; None: it is of the world, and lives as long."""


class SimulatedTask(asyncio.Task[T]):
    """One whose place in a set is the same in every run."""

    def __init__(
        self,
        work: Coroutine[Any, Any, T],
        *,
        loop: SimulatedLoop,
        name: str | None = None,
        context: Context | None = None,
    ) -> None:
        self._number = next(loop.numbers)
        super().__init__(work, loop=loop, name=name or f"task-{self._number}", context=context)

    def __hash__(self) -> int:
        return self._number


class SimulatedLoop(asyncio.BaseEventLoop):
    """``draw`` decides which of the callbacks that are ready is next."""

    def __init__(self, draw: random.Random, begins_at: float = 1000.0) -> None:
        super().__init__()
        self.numbers = itertools.count()
        self.turns = 0
        self.trouble: list[str] = []
        """Exceptions that nobody took."""
        self._draw = draw
        self._now = begins_at
        self._runnable: list[tuple[Handle, Process | None]] = []
        self._timers: list[tuple[float, int, TimerHandle, Process | None]] = []
        self._of_the_world: list[SimulatedTask[Any]] = []
        self.set_task_factory(_make_task)
        self.set_exception_handler(lambda _, context: self._note(context))

    def time(self) -> float:
        return self._now

    # --- what is to be run ------------------------------------------------------------------------

    def call_soon(  # type: ignore[override]
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> Handle:
        handle = Handle(callback, args, self, context)
        self._runnable.append((handle, _process_of(context)))
        return handle

    call_soon_threadsafe = call_soon  # type: ignore[assignment]

    def call_at(  # type: ignore[override]
        self,
        when: float,
        callback: Callable[..., object],
        *args: Any,
        context: Context | None = None,
    ) -> TimerHandle:
        timer = TimerHandle(when, callback, args, self, context)
        entry = (when, next(self.numbers), timer, _process_of(context))
        heapq.heappush(self._timers, entry)
        return timer

    def call_later(  # type: ignore[override]
        self,
        delay: float,
        callback: Callable[..., object],
        *args: Any,
        context: Context | None = None,
    ) -> TimerHandle:
        return self.call_at(self._now + max(delay, 0.0), callback, *args, context=context)

    def run_in_executor(  # type: ignore[override]
        self, executor: object, function: Callable[..., T], *args: Any
    ) -> asyncio.Future[T]:
        """At once, though its caller waits a moment: there is no thread."""
        done: asyncio.Future[T] = self.create_future()
        result = function(*args)
        self.call_later(self._draw.random() * 0.01, _give, done, result)
        return done

    # --- turns ------------------------------------------------------------------------------------

    def _run_once(self) -> None:
        self.turns += 1
        if self.turns > MOST_TURNS:
            raise Stuck(f"more than {MOST_TURNS} turns, at {self._now:.3f}")
        if not self._runnable:
            self._let_time_pass()
        handle, process = self._runnable.pop(self._next())
        if not handle.cancelled() and (process is None or process.is_alive):
            handle._run()

    def _next(self) -> int:
        """Half of the time the oldest, else any."""
        count = len(self._runnable)
        return 0 if count == 1 or self._draw.random() < 0.5 else self._draw.randrange(count)

    def _let_time_pass(self) -> None:
        while self._timers and not self._runnable:
            when = self._timers[0][0]
            while self._timers and self._timers[0][0] <= when:
                _, _, timer, process = heapq.heappop(self._timers)
                if not timer.cancelled() and (process is None or process.is_alive):
                    self._runnable.append((timer, process))
            if self._runnable:
                self._now = max(self._now, when)
        if not self._runnable:
            raise Stuck(f"everybody waits for what will never be, at {self._now:.3f}")

    def _process_events(self, event_list: object) -> None:
        pass

    def _write_to_self(self) -> None:
        pass

    def _timer_handle_cancelled(self, handle: TimerHandle) -> None:
        pass

    # --- ends -------------------------------------------------------------------------------------

    def keep(self, task: SimulatedTask[Any], process: Process | None) -> None:
        """Nobody else may: a task that is let go of is closed, and runs its ``finally``."""
        tasks = self._of_the_world if process is None else process.tasks
        tasks.append(task)
        if len(tasks) % 256 == 0:
            tasks[:] = [one for one in tasks if not one.done()]

    def _note(self, context: dict[str, Any]) -> None:
        error = context.get("exception")
        self.trouble.append(f"{context.get('message')}: {error!r}")


def bury(process: Process) -> None:
    """Closes what a dead process has left, when nobody looks any more."""
    with warnings.catch_warnings():
        # It would tidy up, and nobody is there to wait for that.
        warnings.simplefilter("ignore", RuntimeWarning)
        for task in process.tasks:
            if not task.done():
                task._log_destroy_pending = False  # type: ignore[attr-defined]
                _close(task.get_coro())
        process.tasks.clear()


def _close(work: Any) -> None:
    for _ in range(100):
        try:
            work.close()
        except RuntimeError:  # it awaits in a finally: once more
            continue
        except BaseException:
            pass
        return


def _make_task(
    loop: asyncio.AbstractEventLoop, work: Any, context: Context | None = None
) -> asyncio.Task[Any]:
    simulated = cast(SimulatedLoop, loop)
    task: SimulatedTask[Any] = SimulatedTask(work, loop=simulated, context=context)
    simulated.keep(task, _process_of(context))
    return task


def _process_of(context: Context | None) -> Process | None:
    return PROCESS.get() if context is None else context.get(PROCESS)


def _give(done: asyncio.Future[T], result: T) -> None:
    if not done.done():
        done.set_result(result)


class LoopClock:
    """A ``Clock`` by the loop's time; ``epoch``: what it is in seconds since 1970, when the loop
    says 1000."""

    def __init__(self, loop: SimulatedLoop, epoch: float) -> None:
        self._loop = loop
        self._epoch = epoch
        self.monotonic = loop.time
        self.sleep = asyncio.sleep

    def time(self) -> float:
        return self._epoch + self._loop.time() - 1000.0

    def call_later(self, seconds: float, callback: Callable[[], None]) -> TimerHandle:
        return self._loop.call_later(seconds, callback)
