"""One job on one lease: begun, gone on with, or ended, as what is written down of it says."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from math import inf

import msgspec

from adapters.types import Call
from gateway.active_policy import ActivePolicy
from gateway.calls.admission import Admission, concurrency_in
from gateway.calls.dispatcher import Dispatcher
from gateway.calls.refusals import PutOff
from gateway.calls.state import CallState
from gateway.clock import Clock
from gateway.jobs.ending import JobEnding
from gateway.jobs.outcomes import (
    CANCELED,
    EXPIRED,
    INTERRUPTED,
    PASSED,
    EndsAs,
    IsLeft,
    Outcome,
    Waits,
    of_failure,
    of_rows,
    put_off,
    restarted,
)
from gateway.jobs.records import JobAttempt, JobRequest, read_request, to_text
from gateway.jobs.run import JobRun
from gateway.jobs.spent import goes_on
from gateway.jobs.time_limit import TimeLimit
from gateway.money.settling.settlement import Settler
from gateway.storage.base import (
    Claim,
    Ledger,
    LedgerRow,
    Refused,
    SharedStore,
    StorageUnavailable,
)
from gateway.storage.jobs.base import JobStore
from gateway.types import ApiError

log = logging.getLogger("spillgate")

_FULL_S = 1.0
_STORE_AGAIN_S = 1.0


class OneLease:
    """Sees jobs through that somebody has a lease of.

    ``ended`` is told of each call that has ended; ``full`` of keys whose other calls take all the
    places that they have.
    """

    def __init__(
        self,
        *,
        store: JobStore,
        dispatcher: Dispatcher,
        settler: Settler,
        shared: SharedStore,
        ledger: Ledger,
        active: Callable[[], ActivePolicy],
        clock: Clock,
        ending: JobEnding,
        ended: Callable[[CallState], None],
        full: Callable[[str, float], None],
    ) -> None:
        self._store = store
        self._dispatcher = dispatcher
        self._settler = settler
        self._shared = shared
        self._ledger = ledger
        self._active = active
        self._clock = clock
        self._ending = ending
        self._ended = ended
        self._full = full

    async def see_through(self, run: JobRun) -> None:
        """Until it has ended, waits again, or is left to another gateway. Raises
        StorageUnavailable: then the lease runs out, and whoever takes it next goes on by what is
        written down of it."""
        outcome = await self._outcome(run)
        run.is_over = True
        if run.state is not None and run.state.ending is not None:
            self._ended(run.state)
        job = run.job
        if isinstance(outcome, EndsAs):
            await self._ending.end(run, outcome)
        elif isinstance(outcome, IsLeft):
            await self._store.leave(job.id, job.epoch)
        else:
            await self._put_back(run, outcome)

    async def _put_back(self, run: JobRun, waits: Waits) -> None:
        """As soon as the store takes it: what is written down may say that a backend has it, by a
        step whose answer was lost, and who goes by that takes it for interrupted."""
        attempt = "" if waits.attempt is None else to_text(waits.attempt)
        error = "" if waits.why is None else to_text(waits.why)
        while True:
            id, epoch = run.job.id, run.job.epoch
            try:
                await self._store.put_back(id, epoch, waits.pause_s, attempt=attempt, error=error)
                return
            except StorageUnavailable as unavailable:
                log.error("job %s: %s; it waits for the store", id, unavailable)
                await self._clock.sleep(_STORE_AGAIN_S)

    async def _outcome(self, run: JobRun) -> Outcome:
        job, row = run.job, run.job.row
        if row is None:
            return of_rows(await self._ledger.rows(job.id), bool(job.answer))
        attempt = run.attempt
        if attempt.handed and not run.goes_on_at:
            await self._settler.interrupt(row, run.spent.rows)
            return INTERRUPTED
        if attempt.backend and not run.goes_on_at:
            again = restarted(attempt)
            if again is None:
                await self._settler.interrupt(row, run.spent.rows)
                return INTERRUPTED
            run.attempt = again
        return await self._run(run, row)

    # --- a call of its own --------------------------------------------------------------------

    async def _run(self, run: JobRun, row: LedgerRow) -> Outcome:
        active, request = self._active(), read_request(run.job.request)
        unasked = self._unasked(active, run, request)
        if unasked is None and run.large is not None and not run.goes_on_at:
            try:
                request = await run.large.request(request, active.demands)
            except ApiError as error:
                unasked = of_failure(error, late=False), error.status, error.code
        run.state = state = self._state(active, run, request, row)
        most_s = inf if request.most_run_s is None else request.most_run_s
        patience = self._dispatcher.patience(active, state)
        run.limit = partial(TimeLimit, self._clock, state, most_s, patience)
        if run.stopped == "handed_over":
            return _left(run)
        if run.stopped and not run.goes_on_at:
            unasked = _CANCELED_UNASKED
        if unasked is not None:
            end, status, code = unasked
            await self._dispatcher.jobs.end_unasked(state, status, code)
            return end
        try:
            return await self._within_concurrency(active, run, state)
        except asyncio.CancelledError:
            return await self._broken_off(run, state)
        except PutOff as error:
            found = put_off(error.error)
            if isinstance(found, Waits):
                return msgspec.structs.replace(found, attempt=_restarts_of(run))
            await self._dispatcher.jobs.end_unasked(state, error.error.status, error.error.code)
            return found
        except ApiError as error:
            if run.job.canceling:  # by a gateway that died when it had told the platform
                return CANCELED
            return of_failure(error, late=self._clock.time() >= run.job.deadline)
        except LookupError:  # the backend that has it is none of the policy's any more
            await self._settler.interrupt(row, run.spent.rows)
            return INTERRUPTED

    def _unasked(
        self, active: ActivePolicy, run: JobRun, request: JobRequest
    ) -> tuple[EndsAs, int, str] | None:
        """Why no backend is asked: (its end, and the status and code of its call)."""
        if run.goes_on_at:
            return None
        if run.job.canceling:
            return _CANCELED_UNASKED
        if self._clock.time() >= run.job.deadline:
            return EXPIRED, 504, PASSED
        try:
            active.model(request.model, request.principal, request.named)
        except ApiError as error:
            return of_failure(error, late=False), error.status, error.code
        return None

    def _state(
        self, active: ActivePolicy, run: JobRun, request: JobRequest, row: LedgerRow
    ) -> CallState:
        """The call as it was when it was admitted, or as the gateway left it that has died."""
        now, job = self._clock.monotonic(), run.job
        left_s = max(0.0, job.deadline - self._clock.time())
        longest_s = active.longest(request.model) if request.model in active.policy.models else 0.0
        call = Call(
            id=job.id,
            model=request.model,
            task=request.task,
            body=request.call_body,
            content_type=request.content_type,
            declared=request.declared,
            betas=request.betas,
            deadline=now + min(left_s, longest_s),
        )
        state = CallState(
            call,
            call.model,
            request.principal,
            request.preferences,
            received=now,
            received_at=row.started_at,
            policy=request.policy,
            task=asyncio.current_task(),
        )
        state.durable, state.opened = run, True
        state.may_wait_s = max(0.0, left_s - longest_s)
        state.admission = Admission(None, row.claims, row.hold_nano)
        goes_on(state, run.attempt.spent)
        state.counted = {claim.unit: claim.take for claim in row.claims if claim.unit not in _TIMED}
        state.at_backend = row.at_backend if run.goes_on_at else None
        wanted = request.preferences
        if wanted.unbounded and row.claims:
            state.output_bound = max(1, wanted.output_tokens // wanted.unbounded)
        return state

    async def _within_concurrency(
        self, active: ActivePolicy, run: JobRun, state: CallState
    ) -> Outcome:
        """A job that waits takes none of its caller's places; one that runs takes one."""
        claims = self._concurrency(active, state)
        if not claims:
            return await self._go_on(active, run, state)
        hold_id = f"{state.call.id}.run"
        ttl_s = state.hold_lasts_s(self._clock.monotonic())
        if run.goes_on_at:
            await self._shared.reinstate(hold_id, claims, ttl_s)
        else:
            await self._shared.release(hold_id)  # of a gateway that has died
            found = await self._shared.admit(hold_id, claims, ttl_s)
            if isinstance(found, Refused):
                self._full(state.principal.key_id, self._clock.monotonic() + _FULL_S)
                return Waits(_FULL_S, _restarts_of(run))
        try:
            return await self._go_on(active, run, state)
        finally:
            if state.stop_cause != "handed_over":
                self._dispatcher.background.run(self._give_back(hold_id))

    async def _give_back(self, hold_id: str) -> None:
        try:
            await self._shared.release(hold_id)
        except StorageUnavailable as unavailable:
            log.error("store: %s; the hold of %s expires by itself", unavailable, hold_id)

    def _concurrency(self, active: ActivePolicy, state: CallState) -> tuple[Claim, ...]:
        now_at = self._clock.time()
        try:
            template = active.template(
                state.principal, state.call.model, now_at, state.preferences.tags
            )
        except ApiError:  # its plan has gone, and its limits with it
            return ()
        return concurrency_in(template)

    async def _go_on(self, active: ActivePolicy, run: JobRun, state: CallState) -> Outcome:
        at, ago_s = run.goes_on_at, run.begun_ago_s
        await self._dispatcher.jobs.go_on(active, state, at=at, ago_s=ago_s)
        return EndsAs("succeeded")

    async def _broken_off(self, run: JobRun, state: CallState) -> Outcome:
        """It was stopped for a reason of ours, or the gateway ends at once: then this is raised
        again."""
        task = asyncio.current_task()
        if not state.stop_cause or task is None:
            raise asyncio.CancelledError
        while task.cancelling():
            task.uncancel()
        if state.stop_cause == "canceled":
            if state.ending is None:
                if run.goes_on_at:  # its platform was not told yet: whoever has it next does that
                    return IsLeft()
                await self._dispatcher.jobs.end_unasked(state, 499, "canceled")
            return CANCELED
        return _left(run)


_TIMED = frozenset(("nano_usd", "gpu_us"))
_CANCELED_UNASKED = CANCELED, 499, "canceled"


def _left(run: JobRun) -> Outcome:
    """Another gateway has its turn."""
    return IsLeft() if run.goes_on_at else Waits(attempt=_restarts_of(run))


def _restarts_of(run: JobRun) -> JobAttempt:
    return JobAttempt(restarts=run.attempt.restarts, spent=run.spent)
