"""The way in: a job is held for and in the store, with the open row of its call, before its caller
is told of it."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable

import msgspec

from adapters.types import JSON_TYPE, Call, Reply, Task
from gateway.active_policy import ActivePolicy
from gateway.calls.attempt import Attempt
from gateway.calls.dispatcher import Dispatcher
from gateway.calls.rows import open_row
from gateway.calls.state import CallState
from gateway.clock import Clock
from gateway.jobs.digests import AsSent, request_digests
from gateway.jobs.records import JobDialect, JobRequest, kept_body, to_text
from gateway.preferences import Preferences
from gateway.storage.base import StorageUnavailable
from gateway.storage.jobs.base import JobStore, KnownJob, LineFull, NewJob
from gateway.tasks import BackgroundTasks
from gateway.types import ApiError, Principal


class AskedJob(msgspec.Struct, frozen=True, kw_only=True):
    """A job as its caller asks for it, read and understood."""

    model: str
    task: Task
    body: bytes
    principal: Principal
    preferences: Preferences
    sent: AsSent | None = None
    """None: its caller gave the model's own name."""
    content_type: str = JSON_TYPE
    """Of the body."""
    declared: tuple[str, str] | None = None
    """Of a route that the policy names: its method, and its path with its query."""
    betas: str = ""
    """Of a message: its header ``anthropic-beta``."""
    deadline_s: float | None = None
    """Seconds from now; None: as the policy says."""
    keep_s: float | None = None
    """How long its result is kept; None: as the policy says."""
    webhook: str = ""
    idempotency_key: str = ""
    most_run_s: float | None = None
    """None: as long as its backend allows."""
    dialect: JobDialect | None = None
    """None: its caller speaks the gateway's own."""


class JobAcceptance:
    """Accepts jobs by the policy in force. ``accepted`` is called with each id."""

    def __init__(
        self,
        *,
        store: JobStore,
        dispatcher: Dispatcher,
        clock: Clock,
        accepted: Callable[[str], None],
    ) -> None:
        self._store = store
        self._dispatcher = dispatcher
        self._clock = clock
        self._accepted = accepted
        self._tasks = BackgroundTasks()

    async def accept(self, active: ActivePolicy, asked: AskedJob) -> str:
        """The id of the job, which is that of an earlier one where the caller's idempotency key
        names it. Raises ApiError: 402 and 429 of limits, 409 for a key that names something else,
        503 where it could not be made durable."""
        name, digests = name_of(asked), _digests_of(asked)
        if name and (known := await self._store.named(name)) is not None:
            return _checked(known, digests)
        state, job = await self.hold(active, asked)
        known = await self._stored(state, job)
        if known.id == job.id:
            self._accepted(job.id)
        else:  # another request of this name was faster
            await self._dispatcher.jobs.end_unasked(state, 200, "")
        return _checked(known, digests)

    async def hold(self, active: ActivePolicy, asked: AskedJob) -> tuple[CallState, NewJob]:
        """A job that holds what it may cost, to be put into the store. Raises ApiError 402 and 429
        of limits, and then holds nothing."""
        now_at = self._clock.time()
        deadline_s = asked.deadline_s or active.policy.jobs.deadline
        state = self._state(active, asked, now_at, deadline_s)
        await self._dispatcher.jobs.hold(active, state)
        state.reason = "NONE"
        try:
            return state, self._new_job(active, asked, state, deadline_s)
        except BaseException:
            await self._dispatcher.jobs.end_unasked(state, 499, "not_accepted")
            raise

    @staticmethod
    def _new_job(
        active: ActivePolicy, asked: AskedJob, state: CallState, deadline_s: float
    ) -> NewJob:
        settings, now_at = active.policy.jobs, state.received_at
        return NewJob(
            id=state.call.id,
            model=asked.model,
            task=asked.task,
            key_id=asked.principal.key_id,
            user=asked.principal.user,
            rank=asked.preferences.rank(active.priority(asked.principal, asked.preferences)),
            created_at=now_at,
            deadline=now_at + deadline_s,
            keep_s=settings.keep if asked.keep_s is None else asked.keep_s,
            webhook=asked.webhook,
            idempotency=name_of(asked),
            digest=_digests_of(asked)[0],
            most_waiting=settings.waiting,
            request=to_text(_request(active, asked, state)),
        )

    def _state(
        self, active: ActivePolicy, asked: AskedJob, now_at: float, deadline_s: float
    ) -> CallState:
        now = self._clock.monotonic()
        call = Call(
            id=_new_id(now_at),
            model=asked.model,
            task=asked.task,
            body=asked.body,
            deadline=now + deadline_s,
        )
        state = CallState(
            call,
            call.model,
            asked.principal,
            asked.preferences,
            received=now,
            received_at=now_at,
            policy=active.policy.version,
            task=asyncio.current_task(),
        )
        state.durable = _NOT_YET
        return state

    async def _stored(self, state: CallState, job: NewJob) -> KnownJob:
        """In one transaction with what is held. What is not in the store holds nothing."""
        try:
            return await self._store.accept(job, open_row(state, None))
        except LineFull:
            await self._dispatcher.jobs.end_unasked(state, 429, LINE_FULL)
            raise _line_full(job) from None
        except StorageUnavailable as unavailable:
            return await self._known(state, job, unavailable)
        except BaseException:
            self._tasks.run(self._find_out(state, job))
            raise

    async def _known(
        self, state: CallState, job: NewJob, unavailable: StorageUnavailable
    ) -> KnownJob:
        """What the store has of a job that was put there, and the answer was lost. Raises ApiError
        503 where that is nothing, or nobody knows."""
        try:
            found = await self._store.get(job.id)
        except BaseException as error:
            self._tasks.run(self._find_out(state, job))
            if not isinstance(error, StorageUnavailable):
                raise
            raise _not_written(_NOBODY_KNOWS.format(job.id)) from unavailable
        if found is None:
            await self._dispatcher.jobs.end_unasked(state, 503, "store_unavailable")
            raise _not_written(_NOT_WRITTEN) from unavailable
        return KnownJob(job.id, job.digest)

    async def _find_out(self, state: CallState, job: NewJob) -> None:
        """Asks until the store says whether the job is there: what is not holds nothing."""
        while True:
            try:
                found = await self._store.get(job.id)
                break
            except StorageUnavailable:
                await self._clock.sleep(_FIND_OUT_EVERY_S)
        if found is None:
            await self._dispatcher.jobs.end_unasked(state, 499, "disconnected")
        else:
            self._accepted(job.id)


LINE_FULL = "too_many_jobs"
_FIND_OUT_EVERY_S = 1.0
_NOT_WRITTEN = "The job could not be written down, so it is not accepted."
_NOBODY_KNOWS = "The store did not say whether the job was written down: it may run, as {}."


def _not_written(message: str) -> ApiError:
    return ApiError(
        503,
        "store_unavailable",
        f"{message} With an idempotency key it may be sent again without fear.",
        type="api_error",
        headers={"Retry-After": "1"},
    )


_AGAIN_S = 10


def _line_full(job: NewJob) -> ApiError:
    return ApiError(
        429,
        LINE_FULL,
        f"{job.most_waiting:,} jobs of {job.user} wait already, which is as many as may. This one "
        "was not accepted, and holds nothing: ask again when some have begun, or cancel some.",
        type="rate_limit_error",
        headers={"Retry-After": str(_AGAIN_S), "x-should-retry": "true"},
    )


class _NotYet:
    """Of a job that is about to be accepted: whoever takes it asks."""

    async def ask(self, attempt: Attempt) -> Reply:
        raise AssertionError("a job is asked when it has been accepted")


_NOT_YET = _NotYet()


def _request(active: ActivePolicy, asked: AskedJob, state: CallState) -> JobRequest:
    text, in_base64 = kept_body(asked.body)
    return JobRequest(
        model=asked.model,
        task=asked.task,
        body=text,
        base64=in_base64,
        content_type=asked.content_type,
        declared=asked.declared,
        betas=asked.betas,
        principal=asked.principal,
        preferences=state.preferences,
        policy=active.policy.version,
        most_run_s=asked.most_run_s,
        dialect=asked.dialect,
        named="" if asked.sent is None else asked.sent.name,
    )


def _new_id(now_at: float) -> str:
    """Ascends, as those of requests do."""
    return f"job_{int(now_at * 1000):012x}{secrets.randbits(48):012x}"


def name_of(asked: AskedJob) -> str:
    """Of a request that its caller has named, among all callers'; else empty."""
    return request_name(asked.principal.key_id, asked.idempotency_key)


def request_name(key_id: str, key: str) -> str:
    """``key``: the caller's own word for its request."""
    return f"{key_id}:{key}" if key else ""


def _digests_of(asked: AskedJob) -> tuple[str, ...]:
    query = "" if asked.declared is None else asked.declared[1].partition("?")[2]
    return request_digests(
        asked.task, asked.model, asked.body, asked.sent, asked.content_type, asked.betas, query
    )


def _checked(known: KnownJob, digests: tuple[str, ...]) -> str:
    """The id of the job that has the name, if it is the same request's."""
    if known.digest not in digests:
        raise key_reused(known.id, "idempotency_key")
    return known.id


def key_reused(id: str, param: str) -> ApiError:
    """``id``: of the call that has the name already."""
    return ApiError(
        409,
        "idempotency_key_reused",
        f"This idempotency key names {id}, which asks for something else. Give each request a key "
        "of its own.",
        param=param,
        headers={"x-should-retry": "false"},
    )
