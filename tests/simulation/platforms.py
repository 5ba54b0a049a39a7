"""The backends: platforms that outlive every gateway, and adapters that ask them.

A platform does as its luck says, and remembers what it ran: that is what the books are held
against.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from collections import defaultdict
from collections.abc import AsyncIterator

import msgspec

from adapters.base import Clock
from adapters.errors import BackendError, FailureClass, Ran, is_closed
from adapters.types import Call, Capabilities, Chunk, Probe, Reply, Usage

FAILURES = tuple(one for one in FailureClass if one is not FailureClass.CANCELLED)
INPUT_TOKENS = 10
_PIECE = b'data: {"choices":[{"index":0,"delta":{"content":"x"}}]}\n\n'
_LAST = b'data: {"choices":[],"usage":{}}\n\n'
_DONE = b"data: [DONE]\n\n"


class BugOfAdapter(Exception):
    """What no adapter may raise."""


class SimulatedSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a policy may say of one."""

    slots: int | None = None
    runs_for: float = 1.0
    """Seconds that a call takes on the average."""
    stoppable: bool = True
    """What runs there can be stopped."""


class Fate(msgspec.Struct, frozen=True):
    """What becomes of one call, drawn when it arrives."""

    queues_s: float
    cold_s: float
    runs_s: float
    fails: FailureClass | None
    """Of a stream: after it has begun, where it is TRUNCATED."""
    states_usage: bool
    tokens: int
    has_fault: bool
    """Its adapter has a bug, and raises what it must not."""
    promises: bool
    """A whole answer only promises the work."""


class Work(msgspec.Struct):
    """What a platform did for one call."""

    call: str
    began: float
    """By the loop's time; inf: never."""
    ended: float
    tokens: int
    stated: bool
    """It says what it used."""
    answered: bool = False
    """The adapter was given all of the answer."""


class Platform:
    """One of them, of a name. ``luck`` is the share of its calls that go well."""

    def __init__(self, name: str, draw: random.Random, luck: float) -> None:
        self.name = name
        self.draw = draw
        self.luck = luck
        self.works: defaultdict[str, list[Work]] = defaultdict(list)
        """By the call's id: the same platform may be asked twice."""
        self.visits: dict[int, tuple[str, float]] = {}
        """Calls that adapters of living processes wait for: of which process, since when."""
        self.spans: list[tuple[str, float, float]] = []
        """Those that are over: of which process, from when to when."""
        self._numbers = itertools.count()

    def enters(self, process: str, now: float) -> int:
        """A call is there; returns its number."""
        number = next(self._numbers)
        self.visits[number] = (process, now)
        return number

    def leaves(self, number: int, now: float) -> None:
        """It is there no more."""
        if number in self.visits:
            process, since = self.visits.pop(number)
            self.spans.append((process, since, now))

    def forget(self, process: str, now: float) -> None:
        """Nobody of a dead process waits any more."""
        for number, (name, _) in tuple(self.visits.items()):
            if name == process:
                self.leaves(number, now)

    def fate(self, runs_for: float, *, stream: bool, most_tokens: int) -> Fate:
        """Of the next call."""
        draw = self.draw
        ill = draw.random() >= self.luck
        fails = draw.choice(FAILURES) if ill else None
        long = draw.random()
        runs_s = runs_for * (0.2 + draw.random() * 1.6) * (8.0 if long < 0.06 else 1.0)
        return Fate(
            queues_s=draw.random() * 4.0 if draw.random() < 0.15 else 0.0,
            cold_s=draw.random() * 4.0 if draw.random() < 0.2 else 0.0,
            runs_s=1e6 if long > 0.985 else runs_s,
            fails=fails,
            states_usage=draw.random() < 0.85,
            tokens=draw.randrange(1, most_tokens + 1),
            has_fault=draw.random() < 0.004,
            promises=not stream and draw.random() < 0.04,
        )


class SimulatedBackend:
    """The adapter of one platform, in one process."""

    Settings = SimulatedSettings

    def __init__(
        self,
        name: str,
        settings: SimulatedSettings,
        clock: Clock,
        platform: Platform,
        process: str = "",
    ) -> None:
        self.name = name
        self.capabilities = Capabilities(queues=settings.slots is not None)
        self.slots = settings.slots
        self.closed = False
        self._settings = settings
        self._clock = clock
        self._platform = platform
        self._process = process

    async def start(self) -> None:
        await asyncio.sleep(0)

    async def invoke(self, call: Call) -> Reply:
        if self.closed:
            raise is_closed()
        fate = self._platform.fate(
            self._settings.runs_for, stream=call.stream, most_tokens=tokens_of(call.body)
        )
        never = float("inf")
        work = Work(call.id, never, never, fate.tokens, fate.states_usage)
        self._platform.works[call.id].append(work)
        visit = self._enter()
        try:
            if fate.has_fault:
                await self._clock.sleep(0.01)
                raise BugOfAdapter
            await self._queue(call, fate)
            await self._until(fate.cold_s, call)
            if fate.fails is not None and fate.fails.ran is Ran.NO:
                await self._until(fate.runs_s * 0.05, call)
                raise BackendError(fate.fails, "it did not run")
            work.began, work.ended = self._clock.monotonic(), self._clock.monotonic() + fate.runs_s
            if call.stream:
                return Reply(
                    chunks=self._stream(call, fate, work), content_type="text/event-stream"
                )
            if fate.promises and fate.fails is None:
                return Reply(body=b"{}", status=202, rest=lambda: self._rest(call, fate, work))
            return await self._whole(call, fate, work)
        finally:
            self._leave(visit)

    def _enter(self) -> int:
        return self._platform.enters(self._process, self._clock.monotonic())

    def _leave(self, visit: int) -> None:
        self._platform.leaves(visit, self._clock.monotonic())

    async def _queue(self, call: Call, fate: Fate) -> None:
        until = self._clock.monotonic() + fate.queues_s
        while (now := self._clock.monotonic()) < until:
            call.progress.queued_until = now
            await self._until(min(0.5, until - now), call)

    async def _until(self, seconds: float, call: Call) -> None:
        left = call.deadline - self._clock.monotonic()
        await self._clock.sleep(max(0.0, min(seconds, left)))
        if left < seconds:
            raise BackendError(FailureClass.TIMEOUT, "there was no answer in time")

    async def _whole(self, call: Call, fate: Fate, work: Work) -> Reply:
        usage = await self._run(call, fate, work)
        work.answered = True
        return Reply(body=b'{"ok":true}', usage=usage)

    async def _run(self, call: Call, fate: Fate, work: Work) -> Usage:
        if fate.fails is not None:
            await self._until(fate.runs_s * 0.5, call)
            work.ended = self._clock.monotonic()
            raise BackendError(fate.fails, "it failed")
        await self._until(fate.runs_s, call)
        work.ended = self._clock.monotonic()
        return self._usage(fate)

    async def _rest(self, call: Call, fate: Fate, work: Work) -> Usage:
        visit = self._enter()
        try:
            usage = await self._run(call, fate, work)
        finally:
            self._leave(visit)
        work.answered = True
        return usage

    def _usage(self, fate: Fate) -> Usage:
        if not fate.states_usage:
            return Usage()
        return Usage(
            input_tokens=INPUT_TOKENS,
            output_tokens=fate.tokens,
            cold_s=fate.cold_s or None,
            exec_s=fate.runs_s,
            reported=True,
        )

    async def _stream(self, call: Call, fate: Fate, work: Work) -> AsyncIterator[Chunk]:
        visit = self._enter()
        try:
            for number in range(fate.tokens):
                await self._until(fate.runs_s / fate.tokens, call)
                if fate.fails is not None and number >= fate.tokens // 2:
                    work.ended = self._clock.monotonic()
                    raise BackendError(fate.fails, "it broke off")
                yield Chunk(_PIECE)
            work.ended = self._clock.monotonic()
            if fate.states_usage:
                yield Chunk(_LAST, kind="usage", usage=self._usage(fate))
            work.answered = True
            yield Chunk(_DONE, kind="done")
        finally:
            self._leave(visit)

    async def probe(self) -> Probe:
        await self._clock.sleep(0.01)
        return Probe(ready=True)

    async def aclose(self) -> None:
        self.closed = True


class StoppableBackend(SimulatedBackend):
    """One whose platform can be told to stop; it may be slow to hear."""

    async def cancel(self, call_id: str) -> Usage | None:
        await self._clock.sleep(self._platform.draw.random() * 0.5)
        now = self._clock.monotonic()
        for work in self._platform.works[call_id]:
            work.ended = min(work.ended, now)
        return None


def tokens_of(body: bytes) -> int:
    """The most tokens that a body allows, by its bound."""
    asked = msgspec.json.decode(body)
    bound = asked.get("max_tokens", asked.get("max_completion_tokens", 40))
    return max(1, int(bound))
