"""What the ledger is told of a call: an open row before it is asked, and the row of its end."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from adapters.types import Usage
from gateway.calls.admission import amounts_in, most_held
from gateway.calls.attempt import Attempt
from gateway.calls.history import NOTHING, history_of
from gateway.calls.state import CallState
from gateway.money.charge_records import amounts_of
from gateway.money.committed import IDLE
from gateway.money.counted import Part
from gateway.money.estimates import cost_basis
from gateway.money.pricing import charge
from gateway.money.tariffs import PriceInForce, settled_by
from gateway.storage.base import Hold, LedgerRow, Outcome
from gateway.storage.claims import held_in
from gateway.storage.history import CallHistory
from gateway.types import MICRO, with_own


def open_row(state: CallState, at_backend: Hold | None, at_most: int = 0) -> LedgerRow:
    """The row that must be durable before a paid backend is asked, and ``at_backend`` is held
    there. ``at_most``: nano-dollars that it may cost; nothing may be held for a caller whom
    nothing limits, and his interrupted call has cost something all the same."""
    call, principal, backend = state.call, state.principal, state.backend
    own, tags, at_model = principal.tags, state.preferences.tags, state.at_model
    row = LedgerRow(
        id=call.id,
        started_at=state.received_at,
        key_id=principal.key_id,
        user=principal.user,
        plan=principal.plan,
        tags=own if tags is None else with_own(tags, own),
        model=call.model,
        task=call.task,
        backend="" if backend is None else backend.name,
        reason=state.reason,
        route=state.route,
        policy=state.policy,
        stream=call.stream,
        hold_nano=_may_cost(state, at_most),
        price="" if backend is None else backend.spec.common.price or "",
        claims=held_in(state.admission.claims),
    )
    if at_backend is None and at_model is None:
        return row
    beside = [None if one is None else amounts_in(one) for one in (at_backend, at_model)]
    nano = max(most_held(one.claims, "nano_usd") for one in beside if one is not None)
    nano = _of_this_attempt(state, at_backend) or max(row.hold_nano, nano)
    return msgspec.structs.replace(row, at_backend=beside[0], at_model=beside[1], hold_nano=nano)


def _of_this_attempt(state: CallState, at_backend: Hold | None) -> int:
    """What the backend's own limit holds, where that is all that the call may cost by now: what a
    dearer one would is not spent by a call that dies here. A job's row says what it holds for
    all."""
    if at_backend is None or state.durable is not None:
        return 0
    if state.charged or state.other_would_hold is not None:
        return 0
    return most_held(at_backend.claims, "nano_usd")


def _may_cost(state: CallState, at_most: int) -> int:
    held = state.admission.hold_nano
    may_cost = at_most + sum([row.cost_nano for row in state.charged]) if state.charged else at_most
    if not at_most or may_cost <= held or state.admission.holds("nano_usd"):
        return held  # most calls hold as much: their claims are not made for this
    return may_cost


def end_row(
    state: CallState,
    outcome: Outcome,
    usage: Usage | None,
    *,
    status: int,
    error: str,
    now_at: float,
) -> LedgerRow:
    """The settled row. ``usage`` is what is charged; ``None``: nothing was used. ``now_at``:
    seconds since the epoch."""
    in_force, used = state.in_force, NOTHING if usage is None else usage
    if in_force is not None and in_force.by_answer:
        in_force, used = settled_by(in_force, used, state.preferences.image)
    price = None if in_force is None else in_force.price
    paid = _paid_by_caller(state, used) if used.cold_s else used
    queue_s = (used.queue_s or 0.0) + state.waited_s
    cost = 0 if usage is None else charge(price, paid)
    call, principal, backend = state.call, state.principal, state.backend
    own, tags = principal.tags, state.preferences.tags
    return LedgerRow(
        id=call.id,
        outcome=outcome,
        started_at=state.received_at,
        ended_at=now_at,
        key_id=principal.key_id,
        user=principal.user,
        plan=principal.plan,
        tags=own if tags is None else with_own(tags, own),
        model=call.model,
        task=call.task,
        backend="" if backend is None else backend.name,
        reason=state.reason,
        route=state.route,
        policy=state.policy,
        status=status,
        error=error,
        stream=call.stream,
        input_tokens=used.input_tokens or 0,
        output_tokens=used.output_tokens or 0,
        queue_us=round(queue_s * MICRO) if queue_s else 0,
        cold_us=round(used.cold_s * MICRO) if used.cold_s else 0,
        exec_us=round(used.exec_s * MICRO) if used.exec_s else 0,
        gpu_us=round(used.gpu_s * MICRO) if used.gpu_s else 0,
        hold_nano=state.admission.hold_nano,
        cost_nano=cost,
        cost_basis=cost_basis(price, used, cost),
        price="" if backend is None else backend.spec.common.price or "",
        worker=used.worker or "",
        history=_history(state, paid, in_force),
    )


def row_as_said(row: LedgerRow, attempt: Attempt, used: Usage) -> LedgerRow:
    """The row of an attempt that was stopped, by what its platform said afterwards: for what was
    ``used`` there."""
    in_force = attempt.quote.in_force
    if in_force is not None and in_force.by_answer:
        in_force, used = settled_by(in_force, used)
    price = None if in_force is None else in_force.price
    if attempt.backend.spec.common.start_paid_by != "to_cause" and used.cost_nano is None:
        used = msgspec.structs.replace(used, cold_s=None)
    cost = charge(price, used)
    return msgspec.structs.replace(
        row,
        input_tokens=used.input_tokens or 0,
        output_tokens=used.output_tokens or 0,
        exec_us=round(used.exec_s * MICRO) if used.exec_s else 0,
        gpu_us=round(used.gpu_s * MICRO) if used.gpu_s else 0,
        cost_nano=cost,
        cost_basis=cost_basis(price, used, cost),
    )


def beyond(row: LedgerRow, said: LedgerRow) -> LedgerRow | None:
    """What ``said`` has that the same row lacks; None where that is nothing that is charged."""
    if said.cost_nano <= row.cost_nano and said.gpu_us <= row.gpu_us:
        return None
    more = {name: max(0, getattr(said, name) - getattr(row, name)) for name in _AMOUNTS}
    return msgspec.structs.replace(said, id=f"{row.id}+", **more)


def parts_of(
    more: LedgerRow, at_backend: Hold | None, left_models: Iterable[tuple[str, Hold]]
) -> list[Part]:
    """Where what an attempt has used beyond its row counts beside its call's own limits: in those
    of which it left ``at_backend``, and in those of its model, where its call has left that."""
    at_model = [hold for model, hold in left_models if model == more.model]
    number = more.id.partition("#")[2]
    held = at_model if at_backend is None else [*at_model, at_backend]
    return [Part(Hold(f"{one.id}#{number}", one.claims), (more,)) for one in held]


def unpaid(row: LedgerRow) -> LedgerRow:
    """That of a call whose end could not be written, so that nothing is charged: one that may be
    open would be so for ever."""
    nothing = dict.fromkeys((*_AMOUNTS, "queue_us", "cold_us"), 0)
    return msgspec.structs.replace(
        row,
        outcome="error",
        status=503,
        error="store_unavailable",
        cost_basis="none",
        **nothing,
    )


_AMOUNTS = ("input_tokens", "output_tokens", "exec_us", "gpu_us", "cost_nano")


def start_row(state: CallState, usage: Usage | None, row: LedgerRow) -> LedgerRow | None:
    """What the cold start cost that the call of ``row`` has waited for, where it is nobody's: with
    that row it makes what the platform bills. None where there is nothing."""
    in_force = state.in_force
    if usage is None or in_force is None or _paid_by_caller(state, usage) is usage:
        return None
    used = usage
    if in_force.by_answer:
        in_force, used = settled_by(in_force, used, state.preferences.image)
    nano = charge(in_force.price, used) - row.cost_nano
    if not nano:
        return None
    return LedgerRow(
        id=f"start_{row.id}",
        kind="idle",
        outcome="success",
        started_at=row.started_at,
        ended_at=row.ended_at,
        key_id=IDLE,
        user=IDLE,
        model="",
        task="idle",
        backend=row.backend,
        reason="cold_start",
        policy=row.policy,
        gpu_us=row.cold_us,
        cost_nano=nano,
        cost_basis=row.cost_basis if row.cost_nano else "estimated",
        price=row.price,
    )


def _paid_by_caller(state: CallState, used: Usage) -> Usage:
    """What is charged of it: of a platform's own figure nobody knows what the start was."""
    backend = state.backend
    if backend is None or backend.spec.common.start_paid_by == "to_cause":
        return used
    if not used.cold_s or used.cost_nano is not None:
        return used
    return msgspec.structs.replace(used, cold_s=None)


def _history(state: CallState, used: Usage, in_force: PriceInForce | None) -> CallHistory | None:
    decision = state.decision
    if decision is None:
        return None
    price = None if in_force is None else in_force.record
    amounts = amounts_of(used) if price is not None else {}
    return history_of(decision, state.tried, state.not_asked, state.received_at, price, amounts)
