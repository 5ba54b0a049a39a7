"""A backend that does as it is told: the fake beside the real ones, for tests and examples."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any

import msgspec

from adapters.base import Clock
from adapters.errors import BackendError, FailureClass, is_closed
from adapters.types import Call, Capabilities, Chunk, Probe, Reply, Usage


class After(msgspec.Struct, frozen=True):
    """An outcome that comes only after so many more seconds of the clock."""

    seconds: float
    outcome: Reply | BackendError


Outcome = Reply | BackendError | Sequence[Chunk | BackendError] | After
"""What the next call gets: an answer, a failure, or a stream that may fail on its way."""


class FakeSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a policy may say of a fake."""

    runs_for: float = 0.0
    """Seconds of the clock that a call takes."""
    slots: int | None = 4


class Fake:
    """Answers what was ``tell``-ed in turn, then what ``answers`` says of the call, else
    ``{"ok": true}``; notes all that it is asked."""

    Settings = FakeSettings

    def __init__(self, name: str, settings: FakeSettings, clock: Clock) -> None:
        self.name = name
        self.capabilities = Capabilities()
        self.slots = settings.slots
        self.runs_for = settings.runs_for
        self.cold_s = 0.0
        """Seconds that the next call spends starting a worker."""
        self.queues_for = 0.0
        """Seconds that the platform says of a call that it waits, before it runs."""
        self.pace = 0.0
        """Seconds before each piece of a stream."""
        self.start_stages: dict[str, float] = {}
        self.starts_in: float | None = None
        """Seconds until it should have a worker, while it has none."""
        self.loads_in: dict[str, float | None] = {}
        """Seconds until a model should be loaded; None: it could not be. Others are there."""
        self.calls: list[Call] = []
        self.cancelled: list[str] = []
        self.said_when_stopped: Usage | None = None
        """What its platform says that a call used which is stopped."""
        self.stops_in = 0.0
        """Seconds until it says so."""
        self.pings = 0
        self.minimum: int | None = None
        self.unwell = ""
        """What it says of itself when it is not well."""
        self.says: Probe | None = None
        """What it says of itself, whatever else is the case."""
        self.warm_workers: int | None = None
        self.refuses: BackendError | None = None
        """What every ping gets."""
        self.cannot_scale: BackendError | None = None
        """What whoever tells it how many workers to keep gets."""
        self.round_trip_s: float | None = None
        """How far away it is."""
        self.closed = False
        self.running = 0
        self.most_running = 0
        self._clock = clock
        self._outcomes: deque[Outcome] = deque()
        self._callers: set[asyncio.Task[Any]] = set()
        self.answers: Callable[[Call], Outcome] = lambda _: self._answer()

    def __repr__(self) -> str:
        return f"<Fake {self.name}: {self.running} active>"

    def tell(self, *outcomes: Outcome) -> None:
        """What the next calls come to, one a call."""
        self._outcomes.extend(outcomes)

    def ready_in(self) -> float | None:
        return self.starts_in

    @property
    def loadable(self) -> Mapping[str, float | None]:
        return self.loads_in

    def load_in(self, model: str) -> float | None:
        return self.loads_in[model]

    async def start(self) -> None:
        self.closed = False

    async def invoke(self, call: Call) -> Reply:
        if self.closed:
            raise is_closed()
        self.calls.append(call)
        outcome: Outcome = self._outcomes.popleft() if self._outcomes else self.answers(call)
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        try:
            more = outcome.seconds if isinstance(outcome, After) else 0.0
            await self._queue(call)
            await self._run(self.runs_for + self.cold_s + more, call.deadline)
        finally:
            self.running -= 1
        return self._reply(outcome.outcome if isinstance(outcome, After) else outcome)

    async def _queue(self, call: Call) -> None:
        until = self._clock.monotonic() + self.queues_for
        while (now := self._clock.monotonic()) < until:
            call.progress.queued_until = now
            await self._run(min(0.25, until - now), call.deadline)

    async def _run(self, seconds: float, deadline: float = float("inf")) -> None:
        """Takes its time, until the deadline, and until it is closed."""
        left = deadline - self._clock.monotonic()
        caller = asyncio.current_task()
        assert caller is not None
        self._callers.add(caller)
        try:
            if min(seconds, left) > 0:
                await self._clock.sleep(min(seconds, left))
        except asyncio.CancelledError:
            if caller in self._callers:
                raise
            caller.uncancel()
            raise is_closed() from None
        finally:
            self._callers.discard(caller)
        if left < seconds:
            raise BackendError(FailureClass.TIMEOUT, "there was no answer in time")

    def _reply(self, outcome: Reply | BackendError | Sequence[Chunk | BackendError]) -> Reply:
        if isinstance(outcome, BackendError):
            raise outcome
        if isinstance(outcome, Reply):
            return outcome
        return Reply(chunks=self._stream(outcome), content_type="text/event-stream")

    def _answer(self) -> Reply:
        usage = Usage(
            exec_s=self.runs_for, gpu_s=self.runs_for, cold_s=self.cold_s or None, reported=True
        )
        return Reply(body=b'{"ok":true}', usage=usage)

    async def _stream(self, pieces: Sequence[Chunk | BackendError]) -> AsyncIterator[Chunk]:
        for piece in pieces:
            await (self._clock.sleep(self.pace) if self.pace else asyncio.sleep(0))
            if isinstance(piece, BackendError):
                raise piece
            yield piece

    async def probe(self) -> Probe:
        if self.says is not None:
            return self.says
        ready = self.slots != 0 and not self.unwell
        return Probe(ready=ready, warm_workers=self.warm_workers, detail=self.unwell)

    async def cancel(self, call_id: str) -> Usage | None:
        self.cancelled.append(call_id)
        if self.stops_in:
            await self._clock.sleep(self.stops_in)
        return self.said_when_stopped

    async def ping(self) -> Usage:
        self.pings += 1
        if self.refuses is not None:
            raise self.refuses
        await self._run(self.runs_for + self.cold_s)
        return Usage(exec_s=self.runs_for, cold_s=self.cold_s or None, reported=True)

    async def keep_workers(self, minimum: int) -> None:
        if self.cannot_scale is not None:
            raise self.cannot_scale
        self.minimum = minimum

    async def aclose(self) -> None:
        """Ends the calls in flight: a caller that is no longer listed knows why it was woken."""
        self.closed = True
        callers, self._callers = self._callers, set()
        for caller in callers:
            caller.cancel()
