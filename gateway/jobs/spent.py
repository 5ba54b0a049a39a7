"""What a job's failed attempts cost, handed on from one gateway to the next."""

from __future__ import annotations

from gateway.calls.admission import most_held
from gateway.calls.state import CallState
from gateway.jobs.records import JobSpent
from gateway.storage.base import LedgerRow
from gateway.types import Unit


def spent_of(state: CallState, row: LedgerRow) -> JobSpent:
    """As it is written down. ``row``: the open one of the job's call."""
    return JobSpent(attempts=tuple(state.charged), starts=state.starts, held=_held(state, row))


def _held(state: CallState, row: LedgerRow) -> dict[Unit, int]:
    held = {claim.unit: most_held(state.admission.claims, claim.unit) for claim in row.claims}
    return {unit: amount for unit, amount in held.items() if amount > most_held(row.claims, unit)}


def goes_on(state: CallState, spent: JobSpent) -> None:
    """The call has spent that already, and holds so much: its open row may say so, or not yet."""
    state.charged, state.starts = list(spent.attempts), spent.starts
    for unit, amount in spent.held.items():
        more = amount - most_held(state.admission.claims, unit)
        if more > 0:
            state.admission = state.admission.with_more(unit, more)
