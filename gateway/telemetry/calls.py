"""A call's way, each part of which says how long it took: decision, hold, line, attempts,
settlement. What is done is what the parents of these classes do."""

from __future__ import annotations

from collections.abc import Collection

from adapters.errors import BackendError
from adapters.types import TRACE_HEADER, Reply, Usage
from gateway.active_policy import ActivePolicy
from gateway.calls.admitting import Admitting
from gateway.calls.attempt import Attempt
from gateway.calls.completion import Completion
from gateway.calls.dispatcher import Dispatcher
from gateway.calls.entering import Entering
from gateway.calls.state import CallState
from gateway.calls.stream import SettledStream
from gateway.routing.router import Quote
from gateway.storage.base import Outcome
from gateway.telemetry import names
from gateway.telemetry.spans import TRACE, EndedCall, RequestTrace, Value
from gateway.types import MICRO, NANO


class TracedAdmitting(Admitting):
    """``hold``: what the call may cost, in its caller's limits, waits for others included."""

    async def admit(
        self, active: ActivePolicy, state: CallState, quotes: tuple[Quote, ...]
    ) -> tuple[Quote, ...]:
        trace = TRACE.get()
        if trace is None:
            return await super().admit(active, state, quotes)
        with trace.part("hold"):
            return await super().admit(active, state, quotes)


class TracedEntering(Entering):
    """``line``: the row that is durable before a paid backend is asked, and the wait for a slot."""

    async def enter(
        self,
        active: ActivePolicy,
        state: CallState,
        quote: Quote,
        untried: Collection[Quote] = (),
        *,
        last_resort: bool,
    ) -> Attempt:
        trace = TRACE.get()
        if trace is None:
            return await super().enter(active, state, quote, untried, last_resort=last_resort)
        with trace.part("line", {names.BACKEND: quote.backend}):
            attempt = await super().enter(active, state, quote, untried, last_resort=last_resort)
        TRACE_HEADER.set(trace.begin_attempt(attempt))
        return attempt

    def asks_too(self, attempt: Attempt) -> None:
        trace = TRACE.get()
        if trace is not None:  # the task that asks is made next, with this header
            TRACE_HEADER.set(trace.begin_attempt(attempt))


class TracedCompletion(Completion):
    """Each attempt, and ``settle``."""

    def _release(
        self,
        state: CallState,
        attempt: Attempt,
        usage: Usage | None,
        failure: BackendError | None,
    ) -> None:
        super()._release(state, attempt, usage, failure)
        trace = TRACE.get()
        span_id = None if trace is None else trace.attempt_id(attempt)
        if trace is not None and span_id is not None:
            trace.add(
                f"{names.operation_of(attempt.call.task)} {attempt.call.model}",
                attempt.asked_at,
                _of_attempt(attempt, usage, failure),
                span_id=span_id,
                kind="client",
                failed=failure is not None,
            )

    async def _close(
        self, state: CallState, outcome: Outcome, used: Usage | None, *, status: int, error: str
    ) -> None:
        trace = TRACE.get()
        if trace is None or state.ending is not None:
            await super()._close(state, outcome, used, status=status, error=error)
            return
        try:
            with trace.part("settle"):
                await super()._close(state, outcome, used, status=status, error=error)
        finally:
            _ended(trace, state, self._clock.monotonic())


class TracedDispatcher(Dispatcher):
    """``decide``, and when a stream's first piece came."""

    admits, enters, completes = TracedAdmitting, TracedEntering, TracedCompletion

    def _quotes(
        self, active: ActivePolicy, state: CallState, *, whenever: bool = False
    ) -> tuple[Quote, ...]:
        trace = TRACE.get()
        if trace is None:
            return super()._quotes(active, state, whenever=whenever)
        told: dict[str, Value] = {}
        with trace.part("decide", told):
            try:
                return super()._quotes(active, state, whenever=whenever)
            finally:
                told.update(_of_decision(state))

    async def _begin(self, state: CallState, attempt: Attempt, reply: Reply) -> SettledStream:
        stream = await super()._begin(state, attempt, reply)
        trace = TRACE.get()
        if trace is not None:
            trace.first_piece_at = self._clock.monotonic()
        return stream


def _of_decision(state: CallState) -> dict[str, Value]:
    decision = state.decision
    if decision is None:
        return {names.REQUEST_MODEL: state.call.model}
    return {
        names.REQUEST_MODEL: state.call.model,
        names.REASON: decision.reason,
        names.POLICY_ROUTE: decision.route,
        names.CANDIDATES: tuple(quote.backend for quote in decision.quotes),
        names.NOT_ASKED: tuple(f"{name}: {why}" for name, why in decision.refused),
    }


def _of_attempt(
    attempt: Attempt, usage: Usage | None, failure: BackendError | None
) -> dict[str, Value]:
    spec, call = attempt.backend.spec, attempt.call
    told: dict[str, Value] = {
        names.OPERATION: names.operation_of(call.task),
        names.PROVIDER: spec.kind,
        names.REQUEST_MODEL: call.model,
        names.BACKEND: spec.name,
        names.STREAM: call.stream,
    }
    if failure is not None:
        told[names.ERROR] = failure.failure.slug
    if usage is not None:
        said = {
            names.INPUT_TOKENS: usage.input_tokens,
            names.OUTPUT_TOKENS: usage.output_tokens,
            names.COLD: usage.cold_s,
            names.WORKER: usage.worker,
        }
        told.update({name: value for name, value in said.items() if value is not None})
    return told


def _ended(trace: RequestTrace, state: CallState, now: float) -> None:
    """What the request's own span says of its call."""
    if state.ending is None:
        return
    row = state.ending.row
    operation = names.operation_of(state.call.task)
    first, received = trace.first_piece_at, state.received
    first_s = None if first is None else first - received
    trace.attributes.update(
        {
            names.OPERATION: operation,
            names.PROVIDER: names.OURS,
            names.REQUEST_MODEL: state.asked_model,
            names.RESPONSE_MODEL: row.model,
            names.STREAM: row.stream,
            names.INPUT_TOKENS: row.input_tokens,
            names.OUTPUT_TOKENS: row.output_tokens,
            names.BACKEND: row.backend,
            names.REASON: row.reason,
            names.POLICY_ROUTE: row.route,
            names.POLICY: row.policy,
            names.OUTCOME: row.outcome,
            names.COST: state.ending.cost_nano / NANO,
            names.COLD: row.cold_us / MICRO,
        }
    )
    if row.error:
        trace.attributes[names.ERROR] = row.error
    if first_s is not None:
        trace.attributes[names.FIRST_CHUNK] = first_s
    trace.sink.call(
        EndedCall(
            operation=operation,
            model=state.asked_model,
            seconds=now - received,
            error=row.error,
            first_piece_s=first_s,
            input_tokens=row.input_tokens,
            output_tokens=row.output_tokens,
        )
    )
