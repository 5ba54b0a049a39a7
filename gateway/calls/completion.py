"""Every way that a call can end: its slot is given back, and it is settled exactly once.

Whatever must not be broken off by a cancellation runs shielded, and ``BackgroundTasks`` knows of
it.
"""

from __future__ import annotations

import asyncio
import logging
from math import inf

import msgspec

from adapters.errors import BackendError
from adapters.types import Usage
from gateway.calls.attempt import Attempt
from gateway.calls.ending import BROKEN_OFF, Ending
from gateway.calls.refusals import refusal_of, store_unavailable
from gateway.calls.rows import beyond, end_row, parts_of, start_row, unpaid
from gateway.calls.state import CallState
from gateway.calls.top_up import TopUp
from gateway.clock import Clock
from gateway.metrics import CallMetrics, Metrics
from gateway.money.counted import Part
from gateway.money.estimates import by_tokens
from gateway.money.settling.settlement import Settler
from gateway.storage.base import (
    Hold,
    LedgerRow,
    MaybeWritten,
    Outcome,
    SharedStore,
    StorageUnavailable,
)
from gateway.storage.history import HEDGED
from gateway.tasks import BackgroundTasks
from gateway.types import MICRO, Unit

log = logging.getLogger("spillgate")

_CANCEL_S = 10.0
"""The longest that stopping remote work may take before the call is settled without it."""


class Completion:
    """Ends attempts and calls. Ending a call that has ended changes nothing."""

    def __init__(
        self,
        *,
        shared: SharedStore,
        settler: Settler,
        clock: Clock,
        metrics: Metrics,
        top_up: TopUp,
        background: BackgroundTasks,
        held: set[CallState],
    ) -> None:
        """``held``: the calls that hold something in the shared store."""
        self._shared = shared
        self._settler = settler
        self._clock = clock
        self._metrics = metrics
        self._top_up = top_up
        self._background = background
        self._held = held

    # --- a stream's way -----------------------------------------------------------------------

    def paid_output(self, state: CallState, attempt: Attempt) -> float:
        """Tokens of output that what is held covers, or would: limits may come while a stream is on
        its way. No bound where none are paid or limited."""
        if state.limits_tokens:
            return state.preferences.output_tokens
        return attempt.quote.output_held if by_tokens(attempt.price) else inf

    def more_output(self, state: CallState, attempt: Attempt) -> int:
        """A stream has brought more than that: more is held, or the call is stopped. Returns how
        many tokens more are covered."""
        return self._top_up.more_output(state, attempt)

    async def hold_more(
        self, state: CallState, attempt: Attempt, more: dict[Unit, int]
    ) -> bool | None:
        """Holds more for a call under way; False where there is no room, None where the call has
        ended or is stopped, since the store did not answer."""
        return await self._top_up.hold_more(state, attempt, more)

    # --- an answer ----------------------------------------------------------------------------

    async def finish(
        self, state: CallState, attempt: Attempt, reported: Usage, *, status: int = 200
    ) -> None:
        """The call succeeded, and its caller sees ``status``. Raises ApiError 503 when its row
        cannot be made durable."""
        used = attempt.used(reported)
        if used.exec_s is None:
            used = attempt.with_time_seen(used, self._clock.monotonic())
        attempt.teach(used, state.preferences.parts)
        self._release(state, attempt, used, None)
        try:
            await self._close(state, "success", used, status=status, error="")
        except StorageUnavailable as unavailable:
            raise store_unavailable(unavailable) from None

    # --- a failure ----------------------------------------------------------------------------

    def close_attempt(
        self, state: CallState, attempt: Attempt, failure: BackendError
    ) -> LedgerRow | None:
        """Gives the slot back before another backend is asked. An attempt that is charged gets a
        row of its own, which is returned."""
        used = attempt.used_by_failure(failure, self._clock.monotonic())
        self._release(state, attempt, None, failure)
        if failure.failure.maybe_running and attempt.backend.cancellable is not None:
            self._background.run(self._forget(attempt))
        charged = None if used is None else self._charge_failed(state, used, failure)
        self.end_hold(state, state.leaves_backend(() if charged is None else (charged,)))
        return charged

    def close_hedged(
        self, state: CallState, attempt: Attempt, used: Usage | None
    ) -> LedgerRow | None:
        """The same of the attempt that another one of the call was quicker than: it has not failed.
        ``used``: there, up to now."""
        self._release(state, attempt, None, None)
        charged = None
        if used is not None:
            charged = self._charge_attempt(state, used, "cancelled", 499, HEDGED)
        self.end_hold(state, state.leaves_backend(() if charged is None else (charged,)))
        return charged

    async def correct(
        self, state: CallState, row: LedgerRow, said: LedgerRow, hold: Hold | None
    ) -> None:
        """``said`` is what an attempt that was left has used, in place of its ``row``. One that is
        written stays: what it lacks has a row, and is in each limit that the call was in when it
        left the attempt, the backend's ``hold`` among them."""
        more = beyond(row, said)
        lacks = [] if more is None else parts_of(more, hold, state.left_models)
        if state.ending is None:
            at = state.charged.index(row)
            state.charged[at] = said
            state.tried[:] = [
                msgspec.structs.replace(one, cost_nano=said.cost_nano)
                if one.entry == at + 1
                else one
                for one in state.tried
            ]
            for part in lacks:
                self.end_hold(state, part)
        elif more is not None:
            await self._settler.settle((more,), state.admission.claims, opened=True, beside=lacks)

    def not_sent(self, state: CallState, attempt: Attempt) -> None:
        """The backend is not asked after all: the place, and what is held there, are given back."""
        self._release(state, attempt, None, None)
        self.end_hold(state, state.leaves_backend(()))

    def _charge_failed(
        self, state: CallState, used: Usage, failure: BackendError
    ) -> LedgerRow | None:
        kind = failure.failure
        return self._charge_attempt(state, used, "error", kind.status, kind.slug)

    def _charge_attempt(
        self, state: CallState, used: Usage, outcome: Outcome, status: int, error: str
    ) -> LedgerRow | None:
        now_at = self._clock.time()
        row = end_row(state, outcome, used, status=status, error=error, now_at=now_at)
        start = start_row(state, used, row)
        if not (row.cost_nano or row.gpu_us or start):
            return None
        charged = state.charge(row)
        if start is not None:
            start = msgspec.structs.replace(start, id=f"start_{charged.id}")
            state.starts = (*state.starts, start)
        return charged

    def end_hold(self, state: CallState, part: Part | None) -> None:
        """Ends what is held beside a call's admission, if anything is, while the call goes on."""
        if part is not None:
            self._background.run(self._settler.leave(state.call.id, part))

    async def failed_after_answer(
        self, state: CallState, attempt: Attempt, failure: BackendError
    ) -> None:
        """A stream broke off after it began, or work failed that was promised."""
        state.failed(attempt, failure, self._clock.monotonic(), self._clock.time())
        self._metrics.failures.labels(attempt.backend.name, failure.failure.slug).inc()
        await self.call_failed(state, failure)

    async def call_failed(self, state: CallState, failure: BackendError) -> None:
        """No backend answered, and ``failure`` is the last word."""
        await self._background.shielded(self._settle_failure(state, failure))

    async def _settle_failure(self, state: CallState, failure: BackendError) -> None:
        kind = failure.failure
        attempt = state.attempt
        used: Usage | None = None
        if attempt is not None:  # else it was closed, since another backend would have been asked
            used = attempt.used_by_failure(failure, self._clock.monotonic())
            if kind.maybe_running:
                stopped = await self._stop_remote(attempt)
                used = used if stopped is None else attempt.used_at_stop(stopped)
            self._release(state, attempt, None, failure)
            state.charge_in_own_row()
        try:
            status = refusal_of(failure, state.tried).status
            await self._close(state, "error", used, status=status, error=kind.slug)
        except StorageUnavailable as unavailable:
            log.error("ledger: %s; the row of failed call %s is lost", unavailable, state.call.id)

    # --- a call that is broken off ------------------------------------------------------------

    async def abandon(self, state: CallState) -> None:
        """Nobody waits for the answer any more: stops the remote work and charges what it used;
        runs to its end even when the caller is cancelled once more."""
        await self._background.shielded(self._settle_abandoned(state))

    async def abandon_after_fault(self, state: CallState) -> None:
        """Something raised what it must not, such as an adapter with a fault: whatever it was,
        the call's lease and hold are not kept for ever."""
        state.stop_cause = state.stop_cause or "fault"
        await self.abandon(state)

    async def _settle_abandoned(self, state: CallState) -> None:
        attempt = state.attempt
        used: Usage | None = None
        if attempt is not None:
            now = self._clock.monotonic()
            stopped = await self._stop_remote(attempt)
            used = attempt.used_until(now, stopped, state.preferences.images)
            self._release(state, attempt, None, None)
        outcome, status, code = BROKEN_OFF[state.stop_cause]
        try:
            await self._close(state, outcome, used, status=status, error=code)
        except StorageUnavailable as unavailable:
            log.error("ledger: %s; the row of call %s is lost", unavailable, state.call.id)

    async def forget_remote(self, attempt: Attempt) -> Usage | None:
        """Another backend is asked meanwhile. Returns what this one says it used."""
        return await self._stop_remote(attempt)

    async def _forget(self, attempt: Attempt) -> None:
        """It has failed, and its row says of what."""
        await self._stop_remote(attempt)

    async def _stop_remote(self, attempt: Attempt) -> Usage | None:
        backend, call_id = attempt.backend, attempt.call.id
        try:
            async with asyncio.timeout(_CANCEL_S):
                return await backend.cancellable.cancel(call_id) if backend.cancellable else None
        except Exception as error:  # an adapter with a fault must not keep the call's lease
            log.warning("cancelling %s at %s failed: %r", call_id, backend.name, error)
            return None

    # --- a call that goes on later, or elsewhere ----------------------------------------------

    def leave(self, state: CallState, failure: BackendError | None = None) -> None:
        """A job is left as it is, its row open: its place at the backend is given back, which
        ``failure`` is learned of; where it failed, nothing is held there any more."""
        charged = self._charge_left(state, failure)
        if state.attempt is not None:
            self._release(state, state.attempt, None, failure)
        self._held.discard(state)
        if state.stop_cause != "handed_over":
            for part in state.leaves_all(charged):
                self.end_hold(state, part)

    def _charge_left(self, state: CallState, failure: BackendError | None) -> tuple[LedgerRow, ...]:
        """What the platform says that the failed attempt cost, although nothing ran."""
        if state.attempt is None or failure is None:
            return ()
        used = state.attempt.used_by_failure(failure, self._clock.monotonic())
        row = None if used is None else self._charge_failed(state, used, failure)
        return () if row is None else (row,)

    # --- a call that was not asked ------------------------------------------------------------

    async def not_asked(self, state: CallState, unavailable: StorageUnavailable) -> None:
        """The row could not be made durable, so the backend was not asked: nothing is charged,
        except for attempts before it. A row that may be there all the same is ended, or a later
        start would take it for a call that was interrupted."""
        state.opened = state.opened or isinstance(unavailable, MaybeWritten)
        await self.refused(state, 503, "store_unavailable")

    async def refused(self, state: CallState, status: int, code: str) -> None:
        """Its caller is told ``status`` and ``code`` before any backend was asked."""
        await self._background.shielded(self._settle_not_asked(state, status, code))

    async def _settle_not_asked(self, state: CallState, status: int, code: str) -> None:
        self._held.discard(state)
        try:
            if state.opened or state.may_be_open or state.charged:
                await self._close(state, "error", None, status=status, error=code)
            else:
                await self._give_back(state)
        except StorageUnavailable as unavailable:
            log.error("ledger: %s; the row of call %s is lost", unavailable, state.call.id)

    async def _give_back(self, state: CallState) -> None:
        """What a call holds that asked no backend."""
        own = [(state.call.id, state.admission.claims)] if state.admission.claims else []
        beside = [(part.hold.id, part.hold.claims) for part in state.leaves_all(())]
        try:
            for hold_id, claims in (*own, *beside):
                await self._shared.release(hold_id)
                self._settler.gave_back(claims)
        except StorageUnavailable as unavailable:
            log.error("store: %s; the hold of %s expires by itself", unavailable, state.call.id)

    # --- once ---------------------------------------------------------------------------------

    def _release(
        self,
        state: CallState,
        attempt: Attempt,
        usage: Usage | None,
        failure: BackendError | None,
    ) -> None:
        if state.attempt is attempt:  # else somebody was faster while the remote work was stopped
            state.attempt = None
            if id(attempt) in self._top_up.watched:
                self._top_up.disarm(attempt)
            attempt.backend.end(
                attempt.lease,
                state.call.model,
                usage,
                None if failure is None else attempt.blamed(failure, self._clock.monotonic()),
                user=state.principal.user,
                body=state.call.body,
            )
            if usage is not None and state.preferences.session:
                self._learn_turn(state, attempt, usage)

    def _learn_turn(self, state: CallState, attempt: Attempt, usage: Usage) -> None:
        """The backend has read more of the conversation that the call belongs to."""
        name = (state.principal.user, state.preferences.session)
        attempt.backend.learned.observe_turn(state.call.model, name, usage, self._clock.monotonic())

    async def _close(
        self, state: CallState, outcome: Outcome, used: Usage | None, *, status: int, error: str
    ) -> None:
        """Settles, once. Raises StorageUnavailable only where no durable row existed."""
        if state.ending is not None:
            return
        row = end_row(state, outcome, used, status=status, error=error, now_at=self._clock.time())
        if used is not None and used.cold_s:
            start = start_row(state, used, row)
            state.starts = state.starts if start is None else (*state.starts, start)
        ending = state.end(row)
        claims = state.admission.claims
        self._held.discard(state)
        rows, settle = ending.rows(), self._settler.settle
        parts = () if state.at_backend is state.at_model is None else state.leaves_all(rows)
        try:
            await settle(rows, claims, opened=state.opened, beside=parts)
        except asyncio.CancelledError:
            # Nobody knows how far it came; both stores take it only once.
            self._count(state, ending)
            again = settle(rows, claims, opened=True, beside=parts)
            await self._background.shielded(again)
            raise
        except StorageUnavailable as unavailable:
            if state.may_be_open and not isinstance(unavailable, MaybeWritten):
                await settle((unpaid(row),), (), opened=True)
            raise
        self._count(state, ending)

    def _count(self, state: CallState, ending: Ending) -> None:
        row = ending.row
        elapsed = self._clock.monotonic() - state.received
        pair = self._metrics.pairs[row.model, row.backend]
        pair.ended[row.outcome].value += 1
        pair.seconds.observe(elapsed)
        if row.cost_nano:
            pair.cost.value += row.cost_nano / 1e9
        if row.hold_nano and row.backend:
            self._count_hold(state, ending, pair)
        if row.gpu_us:
            pair.gpu.value += row.gpu_us / MICRO
        if row.cold_us:
            pair.cold.value += 1
        if state.charged:
            ending.count_attempts(self._metrics)
        if state.answered_s and not row.stream:
            overhead_s = elapsed - state.answered_s - state.waited_s
            self._metrics.overhead.observe(overhead_s if overhead_s > 0.0 else 0.0)

    def _count_hold(self, state: CallState, ending: Ending, pair: CallMetrics) -> None:
        row, cost_nano = ending.row, ending.cost_nano
        pair.held.value += row.hold_nano / 1e9
        pair.set_aside.value += (row.hold_nano - state.admission.surplus_nano) / 1e9
        pair.settled.value += cost_nano / 1e9
        if row.outcome == "success":
            self._settler.usual.observe(row.key_id, state.asked_model, row.hold_nano, cost_nano)
