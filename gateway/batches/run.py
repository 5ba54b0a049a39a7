"""One batch on one lease: its input is looked at, its lines become jobs, and when all have ended
their results are written. Each step can be taken again by whoever goes on."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from typing import Literal

import msgspec

from gateway.active_policy import ActivePolicy
from gateway.batches.budget import within_budget
from gateway.batches.feeding import BUDGET, REVOKED, BatchFeeder, Fed, budget_reached
from gateway.batches.input import InputCheck, LineFault, RawLine, lines_of, read_line
from gateway.batches.records import faults_text, read_batch_request
from gateway.batches.results import BatchResults, unfed
from gateway.clock import Clock
from gateway.files.files import Files
from gateway.storage.base import StorageUnavailable
from gateway.storage.batches.base import (
    BatchProgress,
    BatchState,
    BatchStore,
    EndedLine,
    StoredBatch,
)

log = logging.getLogger("spillgate")

WAITING = 48
"""Lines of a batch that are jobs and have not begun: what is free finds the next one, and no more
is held than is of use."""
_AT_ONCE = 24
"""Lines that one step feeds."""
_CHECKED = 2**62
"""Bytes of a line that was looked at already: as many as it has."""
_LOOK_S = 0.05
_LONGEST_LOOK_S = 1.0
_REFUSED_FOR_S = 60.0
"""How long a budget may refuse a line while nothing of its batch is on its way, before the line is
told so: others' calls may be holding what is left."""


GONE = "file_gone"


class BatchLost(Exception):
    """Raised where another gateway has the batch, or this one ends."""


class BatchRun:
    """A batch on the lease that ``batch`` was given by."""

    def __init__(
        self,
        batch: StoredBatch,
        *,
        store: BatchStore,
        files: Files,
        feeder: BatchFeeder,
        active: Callable[[], ActivePolicy],
        clock: Clock,
        results: BatchResults,
        jobs_wake: Callable[[str], None],
    ) -> None:
        self.batch = batch
        self.is_canceling = batch.canceling_at is not None
        self.is_left = False
        """Nothing more is done for it here."""
        self._store = store
        self._files = files
        self._feeder = feeder
        self._active = active
        self._clock = clock
        self._jobs_wake = jobs_wake
        self._results = results
        request = read_batch_request(batch.request)
        principal = within_budget(request.principal, batch)
        self._request = msgspec.structs.replace(request, principal=principal)
        self._line, self._byte = batch.fed_line, batch.fed_byte
        self._refused_since: float | None = None
        self._why = batch.why
        self._has_expired = False

    def stop(self, cause: Literal["canceled", "handed_over"]) -> None:
        """No more of its lines are begun; or another gateway goes on with it."""
        if cause == "canceled":
            self.is_canceling = True
        else:
            self.is_left = True

    async def run(self) -> None:
        """To its end. Raises BatchLost and StorageUnavailable: whoever takes it next goes on."""
        if self.batch.state == "finalizing":
            await self._until_ended()
            await self._finish(self.batch.why)
            return
        if self.batch.state == "validating" and not await self._validated():
            return
        unbegun = await self._feed()
        await self._until_ended()
        await self._finish(unbegun)

    def _check(self) -> None:
        if self.is_left:
            raise BatchLost

    @property
    def _is_late(self) -> bool:
        return self._clock.time() >= self.batch.deadline

    def _held(self, done: bool) -> None:
        if not done:
            raise BatchLost

    # --- the input ----------------------------------------------------------------------------

    async def _validated(self) -> bool:
        batch, check = self.batch, InputCheck(self.batch.endpoint)
        try:
            async for line in self._rest(self._active().policy.server.max_body):
                self._check()
                check.look(line)
                if check.is_enough:
                    break
        except LineFault as fault:
            check.add(check.total + 1, fault)
        except LookupError:
            check.add(0, LineFault(GONE, _WHY[GONE]))
        if not check.total and not check.faults:
            check.add(0, LineFault("empty_file", "The input file has no lines."))
        if check.faults:
            faults = faults_text(check.faults)
            self._held(await self._store.refuse(batch.id, batch.epoch, faults))
            return False
        self._held(await self._store.begin(batch.id, batch.epoch, check.total))
        self.batch = msgspec.structs.replace(batch, total=check.total)
        return True

    async def _rest(self, longest: int = _CHECKED) -> AsyncGenerator[RawLine]:
        """The lines that are no jobs yet."""
        async with self._files.read(self.batch.input_file, self._byte) as pieces:
            async for line in lines_of(pieces, longest, self._line, self._byte):
                yield line

    async def _next(self, most: int) -> list[RawLine]:
        found: list[RawLine] = []
        async with contextlib.aclosing(self._rest()) as rest:
            async for line in rest:
                found.append(line)
                if len(found) >= most:
                    break
        return found

    # --- the lines ----------------------------------------------------------------------------

    async def _feed(self) -> str:
        """Until every line is a job, or none may be any more: then why; else empty."""
        pause_s, before = _LOOK_S, 0
        while True:
            self._check()
            if self.is_canceling:
                return "batch_cancelled"
            if self._is_late:
                return "batch_expired"
            if await self._feeder.is_revoked(self.batch.key_id):
                return REVOKED
            waiting = await self._store.waiting(self.batch.id)
            if waiting > WAITING - _AT_ONCE:
                pause_s = min(2 * pause_s, _LONGEST_LOOK_S) if waiting == before else _LOOK_S
                before = waiting
                await self._clock.sleep(pause_s)
                continue
            progress = await self._store.progress(self.batch.id)
            try:
                lines = await self._next(_AT_ONCE)
            except LookupError:
                log.error("batch %s: its input file is not there any more", self.batch.id)
                return GONE
            if not lines:
                return ""
            if await self._fed(lines, progress):
                return BUDGET

    async def _fed(self, lines: Sequence[RawLine], progress: BatchProgress) -> bool:
        """Whether the batch's own budget is used up."""
        budget = await self._left_nano()
        fed = await self._feeder.feed(
            self.batch,
            self._request,
            lines,
            budget_nano=budget,
            patience_s=self._patience_s(progress),
            is_left=lambda: self.is_left,
        )
        if fed.lines:
            if fed.is_lost:
                raise BatchLost
            self._moved(fed.to)
        if fed.lines or progress.alive:
            self._refused_since = None
        return await self._after(fed, progress, lines)

    def _moved(self, to: tuple[int, int]) -> None:
        self._line, self._byte = to
        self.batch = msgspec.structs.replace(self.batch, fed_line=to[0], fed_byte=to[1])

    async def _after(self, fed: Fed, progress: BatchProgress, lines: Sequence[RawLine]) -> bool:
        await self._explain("" if fed.why is None else fed.why.message)
        if fed.why is None:
            return False
        is_idle = not fed.lines and not progress.alive
        if is_idle and fed.why.code == BUDGET:
            return True
        if is_idle and fed.why.status == 402 and self._was_refused_long_enough():
            refused = self._feeder.refuse(self.batch, lines[0], fed.why, lambda: self.is_left)
            self._held(await refused)
            self._refused_since = None
            self._moved((lines[0].number, lines[0].end))
            return False
        await self._clock.sleep(max(fed.wait_s, _LOOK_S))
        return False

    def _was_refused_long_enough(self) -> bool:
        now = self._clock.monotonic()
        if self._refused_since is None:
            self._refused_since = now
        return now - self._refused_since >= _REFUSED_FOR_S

    async def _explain(self, why: str) -> None:
        if why != self._why:
            self._why = why
            await self._store.explain(self.batch.id, self.batch.epoch, why)

    async def _left_nano(self) -> int | None:
        if self.batch.budget_nano is None:
            return None
        return self.batch.budget_nano - await self._store.committed(self.batch.id)

    def _patience_s(self, progress: BatchProgress) -> float:
        """How long a line may wait for what is cheap: what is left of the batch's time, if it goes
        on as it went, less a fifth."""
        left_s = self.batch.deadline - self._clock.time()
        ended, begun_at = progress.done + progress.failed, self.batch.begun_at
        if not ended:
            return max(0.0, left_s / 2)
        since_s = self._clock.time() - (begun_at or self.batch.created_at)
        needs_s = since_s / ended * (self.batch.total - ended)
        return max(0.0, 0.8 * left_s - needs_s)

    # --- the end ------------------------------------------------------------------------------

    async def _until_ended(self) -> None:
        """Waits for the jobs; those of a batch that is canceled are stopped."""
        pause_s, stopped = _LOOK_S, False
        while True:
            self._check()
            if self.is_canceling and not stopped:
                await self._store.stop_lines(self.batch.id)
                self._jobs_wake(self.batch.id)
                stopped = True
            progress = await self._store.progress(self.batch.id)
            if not progress.alive:
                self._has_expired = bool(progress.states.get("expired"))
                return
            await self._clock.sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_LOOK_S)

    async def _finish(self, unbegun: str) -> None:
        batch, since_at = self.batch, self._clock.time()
        self._held(await self._store.finalize(batch.id, batch.epoch, unbegun))
        await self._results.drop(batch, since_at)
        output, done = await self._results.write(batch, "output", None)
        rest = self._unbegun(unbegun) if unbegun else None
        errors, failed = await self._results.write(batch, "error", rest)
        if unbegun == GONE:
            failed = max(failed, batch.total - done)
        ended = await self._store.end(
            batch.id,
            batch.epoch,
            self._end_of(unbegun),
            files=(output, errors),
            counts=(done, failed),
            why=_WHY[unbegun] if unbegun in (BUDGET, REVOKED, GONE) else "",
        )
        if not ended:
            for id in filter(None, (output, errors)):
                with contextlib.suppress(StorageUnavailable):
                    await self._files.drop(id)
            raise BatchLost

    def _end_of(self, unbegun: str) -> BatchState:
        if self.is_canceling:
            return "cancelled"
        if unbegun == GONE:
            return "failed"
        is_late = unbegun == "batch_expired" or self._has_expired
        return "expired" if is_late else "completed"

    async def _unbegun(self, code: str) -> AsyncIterator[EndedLine]:
        """The lines that were never jobs, as far as the input is there."""
        try:
            async for line in self._rest():
                custom_id = read_line(line.text, self.batch.endpoint).custom_id
                yield unfed(line.number, custom_id, code, _WHY[code])
        except LookupError:
            log.error("batch %s: its input is gone: what was not begun is not told", self.batch.id)


_WHY = {
    "batch_cancelled": "The batch was cancelled before this line was begun.",
    "batch_expired": "The batch's time was over before this line was begun.",
    BUDGET: budget_reached().message,
    GONE: "The input file is not there any more.",
    REVOKED: "The key that made the batch was revoked, or has expired, before this line was begun.",
}
