"""One job at one backend: each step is in the store before the next one is taken.

What a gateway that dies leaves behind at each await:

    say what is next   nothing was sent, which nobody can know: as in the middle of what is next;
                       what costs nothing to run is run meanwhile, where nobody has died with it
    submit             the platform may have it, and nobody knows its name: it is not sent again
    keep the handle    the same, for as long as the store takes
    poll               whoever takes the job over asks by the handle
    invoke             the backend of this process: the work ended with it, and begins again; where
                       it is paid, nobody knows how far it came, and it is not sent again
    keep the answer    a platform's job is asked again; else as before
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
from collections.abc import Awaitable, Callable
from math import inf
from typing import Literal, NoReturn, TypeVar

import msgspec

from adapters.base import Backend, LongRunning
from adapters.errors import BackendError, FailureClass, Ran
from adapters.polling import LONGEST_PAUSE, note, pace
from adapters.types import Handle, Reply, Usage
from adapters.types import JobState as AtPlatform
from gateway.calls.attempt import UNUSED, Attempt
from gateway.calls.state import CallState
from gateway.clock import Clock
from gateway.dialects.asking import ask, is_understood
from gateway.jobs.large import LargeBodies
from gateway.jobs.meanwhile import Meanwhile
from gateway.jobs.news import ToldMeanwhile
from gateway.jobs.records import (
    JobAnswer,
    JobSpent,
    answer_of,
    read_answer,
    read_attempt,
    to_text,
)
from gateway.jobs.spent import spent_of
from gateway.jobs.time_limit import TimeLimit
from gateway.jobs.unkept import UnkeptAnswers
from gateway.storage.base import StorageUnavailable
from gateway.storage.jobs.base import JobStore, MovedJob, StoredJob
from gateway.storage.jobs.states import JobState

log = logging.getLogger("spillgate")

T = TypeVar("T")

_POLL_EVERY_S = 0.5
_STORE_AGAIN_S = 1.0
_STOP_S = 10.0
"""The longest that a platform is waited for that is told to stop a job, or names one late."""
_OF_THE_QUESTION = (FailureClass.UNREACHABLE, FailureClass.OVERLOADED, FailureClass.AMBIGUOUS)
"""A poll that failed by these says nothing of the job."""


class JobLost(Exception):
    """Raised where another gateway has the job."""


class JobRun:
    """A ``Durable``: a job on the lease that ``job`` was given by."""

    def __init__(
        self,
        job: StoredJob,
        store: JobStore,
        clock: Clock,
        large: LargeBodies | None = None,
        unkept: UnkeptAnswers | None = None,
        begins: Callable[[], None] = lambda: None,
    ) -> None:
        """``large``: where what is large lies, where there is a place for it. ``unkept``: those of
        all that run here. ``begins`` is called when it waits for no backend any more."""
        self.large = large
        self._unkept = unkept or UnkeptAnswers()
        self._begins = begins
        self._meanwhile = Meanwhile()
        self._told = ToldMeanwhile(store, job)
        self.job = job
        self.attempt = read_attempt(job.attempt)
        self.state: CallState | None = None
        self.task: asyncio.Task[None] | None = None
        self.begun = asyncio.Event()
        """It waits for no backend any more."""
        self.stopped: Literal["", "canceled", "handed_over"] = ""
        """For what it was to stop, also where nothing could be broken off any more, or yet."""
        self.is_over = False
        """What became of it on this lease is known, and about to be written down."""
        self._is_leaving = False
        self.limit: Callable[[Attempt], TimeLimit] | None = None
        """Of its time at a backend."""
        self._begun_at = 0.0
        self._answer = read_answer(job.answer)
        self._state: JobState = job.state
        self._store = store
        self._clock = clock

    def renewed(self, epoch: int) -> None:
        """Its lease is another one."""
        self.job = msgspec.structs.replace(self.job, epoch=epoch)

    @property
    def goes_on_at(self) -> str:
        """The backend where it was begun by another gateway, and can be asked about; or empty."""
        known = self.attempt.handle is not None or self._answer is not None
        return self.attempt.backend if known else ""

    @property
    def begun_ago_s(self) -> float:
        """Seconds since a platform was given it; 0 where none was."""
        handle = self.attempt.handle
        return 0.0 if handle is None else max(0.0, self._clock.time() - handle.submitted)

    @property
    def may_be_left(self) -> bool:
        """Another gateway can go on with it: nothing of it runs here that is paid for."""
        return not self.attempt.handed or self.attempt.handle is not None

    def leave(self) -> None:
        """Leaves it to another gateway, as soon as that one can go on with it."""
        self._is_leaving = True
        if self.may_be_left:
            self.stop("handed_over")

    @property
    def spent(self) -> JobSpent:
        """What has failed by now and is paid for."""
        if self.state is None or self.job.row is None:
            return self.attempt.spent
        return spent_of(self.state, self.job.row)

    @property
    def holds(self) -> bool:
        """Whether something is held for it, as far as is known."""
        if self.state is not None:
            return bool(self.state.admission.claims)
        return self.job.row is None or bool(self.job.row.claims)

    def ran_s(self, now: float) -> float | None:
        """Seconds since a backend was asked first; None: none was. ``now``: monotonic seconds."""
        return now - self._begun_at if self.begun.is_set() else None

    def stop(self, cause: Literal["canceled", "handed_over"]) -> None:
        """Breaks it off, or leaves it to others; the first cause counts."""
        self.stopped = self.stopped or cause
        if self.state is not None and not self.is_over:
            self.state.stop(cause)

    # --- at a backend -------------------------------------------------------------------------

    async def ask(self, attempt: Attempt) -> Reply:
        if not self.begun.is_set():
            self.begun.set()
            self._begun_at = self._clock.monotonic()
            self._begins()
        if self._answer is not None:
            return self._answer.reply()
        assert self.limit is not None
        try:
            failed = functools.partial(self._unkept.failed, self.state, attempt, self._clock)
            reply = await self._meanwhile.within(self.limit(attempt), self._asked(attempt), failed)
            reply = attempt.backend.redactor.over(reply)
            reply = attempt.answered(reply, self._clock.monotonic())
            with self._unkept.waiting(self.state, attempt, reply):
                await self._meanwhile.is_said()
                await self._told.write(attempt.backend.redactor)
                large = self.large
                answer = answer_of(reply) if large is None else await large.surely(self.job, reply)
                await self._keep(answer)
        except JobLost:
            self._leave_at_once()
        except BackendError:  # what is asked next, there as well, is another attempt
            self.attempt = msgspec.structs.replace(self.attempt, handed=False, handle=None)
            raise
        return reply

    async def _keep(self, answer: JobAnswer) -> None:
        self._answer, text = answer, to_text(answer)
        self.job = msgspec.structs.replace(self.job, answer=text)
        await self._surely(lambda: self._store.answer(self.job.id, self.job.epoch, text))

    def _leave_at_once(self) -> NoReturn:
        """Another gateway has it: nothing more is done for it here."""
        if self.state is not None:
            self.state.stop_cause = "handed_over"
        raise asyncio.CancelledError

    async def _asked(self, attempt: Attempt) -> Reply:
        adapter = attempt.backend.adapter
        handle = self.attempt.handle
        if handle is not None and self.attempt.backend == attempt.backend.name:
            assert isinstance(adapter, LongRunning)
            return await self._follow(adapter, attempt, handle)
        if isinstance(adapter, LongRunning) and is_understood(adapter, attempt.call):
            try:
                return await self._handed_over(adapter, attempt)
            except BackendError as error:
                if error.failure is not FailureClass.UNSUPPORTED or self.attempt.handle is not None:
                    raise
        return await self._invoked(adapter, attempt)

    async def _begin(self, attempt: Attempt, to: JobState, *, handed: bool) -> None:
        """Raises StorageUnavailable: then nothing is sent; and JobLost."""
        record = self._said(attempt, handed=handed)
        attempt.progress.sent_at = inf
        try:
            moved = await self._store.move(self.job.id, self.job.epoch, to, attempt=record)
        except asyncio.CancelledError:  # nothing was sent
            attempt.progress.usage = UNUSED
            raise
        attempt.progress.sent_at = self._clock.monotonic()
        self._moved(to, moved)

    def _said(self, attempt: Attempt, *, handed: bool) -> str:
        """What is next."""
        self.attempt = msgspec.structs.replace(
            self.attempt,
            backend=attempt.backend.name,
            handed=handed,
            handle=None,
            spent=self.spent,
        )
        return to_text(self.attempt)

    def _moved(self, to: JobState, moved: MovedJob | None) -> None:
        """The store has it there, and says since when it runs. Raises JobLost where it has not."""
        if moved is None:
            raise JobLost
        self._state = to
        self.job = msgspec.structs.replace(self.job, started_at=moved.started_at)

    # --- what the gateway runs by itself ------------------------------------------------------

    async def _invoked(self, adapter: Backend, attempt: Attempt) -> Reply:
        if attempt.quote.paid or self.job.epoch > 1:
            await self._begin(attempt, "running", handed=attempt.quote.paid)
            return await self._replied(adapter, attempt)
        saying = self._say_meanwhile(self._said(attempt, handed=False))
        return await self._meanwhile.during(self._replied(adapter, attempt), saying)

    async def _say_meanwhile(self, record: str) -> None:
        """Raises JobLost, and then stops what runs."""
        move = functools.partial(self._store.move, attempt=record)
        try:
            moved = await self._surely(lambda: move(self.job.id, self.job.epoch, "running"))
        except JobLost:
            self.stop("handed_over")
            raise
        self._moved("running", moved)

    async def _replied(self, adapter: Backend, attempt: Attempt) -> Reply:
        reply = await ask(adapter, attempt.call, attempt.output_bound)
        if reply.rest is None:
            return reply
        return msgspec.structs.replace(reply, usage=await reply.rest(), rest=None)

    # --- what a platform runs -----------------------------------------------------------------

    async def _handed_over(self, adapter: LongRunning, attempt: Attempt) -> Reply:
        waits = self._state == "queued"  # until a platform has taken it
        await self._begin(attempt, "queued" if waits else "starting", handed=True)
        submitting = asyncio.ensure_future(self._submit(adapter, attempt))
        try:
            handle = await asyncio.shield(submitting)
        except asyncio.CancelledError:
            await self._after_submit(adapter, attempt, submitting)
            raise
        if self._is_leaving:
            self.stop("handed_over")
        return await self._follow(adapter, attempt, handle)

    async def _submit(self, adapter: LongRunning, attempt: Attempt) -> Handle:
        """The handle is in the store before anybody waits for anything else; a job whose handle
        does not get there is stopped, for nobody could ask about it."""
        handle = await adapter.submit(attempt.call)
        self.attempt = msgspec.structs.replace(self.attempt, handle=handle)
        move = functools.partial(self._store.move, attempt=to_text(self.attempt))
        try:
            moved = await self._surely(lambda: move(self.job.id, self.job.epoch, "starting"))
        except JobLost:
            if not await self._is_known(handle):
                await self._stopped(adapter, handle)
            raise
        except asyncio.CancelledError:
            await self._stopped(adapter, handle)
            raise
        self._moved("starting", moved)
        return handle

    async def _is_known(self, handle: Handle) -> bool:
        """Whether whoever has the job now found the handle there: a write whose answer was lost
        may have been done."""
        try:
            found = await self._store.get(self.job.id)
        except StorageUnavailable as unavailable:
            log.error(
                "job %s: %s; whether %s is known is not", self.job.id, unavailable, handle.job
            )
            return True
        return found is not None and read_attempt(found.attempt).handle == handle

    async def _after_submit(
        self, adapter: LongRunning, attempt: Attempt, submitting: asyncio.Future[Handle]
    ) -> None:
        """It was broken off while the platform named it."""
        await asyncio.wait([submitting], timeout=_STOP_S)
        if not submitting.done():
            submitting.cancel()
        elif submitting.cancelled():
            return
        elif (error := submitting.exception()) is None:
            await self._broken_off(adapter, attempt, submitting.result())
        elif isinstance(error, BackendError) and error.ran is Ran.NO:
            attempt.progress.usage = UNUSED

    async def _follow(self, adapter: LongRunning, attempt: Attempt, handle: Handle) -> Reply:
        try:
            return await self._until_done(adapter, attempt, handle)
        except asyncio.CancelledError:
            await self._broken_off(adapter, attempt, handle)
            raise

    async def _until_done(self, adapter: LongRunning, attempt: Attempt, handle: Handle) -> Reply:
        since = self._clock.monotonic()
        while True:
            wait_s = 0.0
            try:
                found = await adapter.poll(handle)
            except BackendError as error:
                if error.failure not in _OF_THE_QUESTION:
                    raise
                wait_s = min(error.retry_after or 0.0, LONGEST_PAUSE)
            else:
                self._told.seen(found)
                if found.reply is not None:
                    return found.reply
                await self._seen(attempt, found)
            now = self._clock.monotonic()
            if now >= attempt.call.deadline:
                raise await self._out_of_time(adapter, handle)
            wait_s = max(wait_s, pace(now - since, _POLL_EVERY_S))
            await self._clock.sleep(min(wait_s, attempt.call.deadline - now))

    async def _seen(self, attempt: Attempt, found: AtPlatform) -> None:
        note(attempt.call.progress, self._clock.monotonic(), queued=found.status == "queued")
        if found.status == "queued":
            return
        with contextlib.suppress(StorageUnavailable):  # the next question says it again
            if self._state != "running":
                moved = await self._store.move(self.job.id, self.job.epoch, "running")
                self._moved("running", moved)
            await self._told.write(attempt.backend.redactor)

    async def _out_of_time(self, adapter: LongRunning, handle: Handle) -> BackendError:
        usage = await self._stopped(adapter, handle)
        return BackendError(
            FailureClass.TIMEOUT, "The backend did not finish in time.", usage=usage
        )

    async def _broken_off(self, adapter: LongRunning, attempt: Attempt, handle: Handle) -> None:
        """Stops the platform's meter, unless another gateway goes on with the job."""
        if self.state is not None and self.state.stop_cause == "handed_over":
            return
        usage = await self._stopped(adapter, handle)
        if usage is not None:
            attempt.progress.usage = usage

    async def _stopped(self, adapter: LongRunning, handle: Handle) -> Usage | None:
        try:
            async with asyncio.timeout(_STOP_S):
                return await adapter.stop(handle)
        except Exception as error:  # an adapter with a fault must not keep the job from its end
            log.warning("stopping %s, job %s, failed: %r", self.job.id, handle.job, error)
            return None

    async def _surely(self, write: Callable[[], Awaitable[T]]) -> T:
        """What a write says, done as soon as the store takes it. Raises JobLost where it says
        nothing on the lease that there is."""
        while True:
            epoch = self.job.epoch
            try:
                if said := await write():
                    return said
            except StorageUnavailable as unavailable:
                log.error("job %s: %s; it waits for the store", self.job.id, unavailable)
                await self._clock.sleep(_STORE_AGAIN_S)
            else:
                if self.job.epoch == epoch:  # else the lease was renewed meanwhile
                    raise JobLost
