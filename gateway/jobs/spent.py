"""What a job's failed attempts cost, handed on from one gateway to the next."""

from __future__ import annotations

from gateway.calls.admission import most_held
from gateway.calls.state import CallState
from gateway.jobs.records import JobSpent
from gateway.storage.base import LedgerRow
from gateway.types import Unit


def spent_of(state: CallState, row: LedgerRow) -> JobSpent:
    """As it is written down. ``row``: the open one of the job's call."""
    return JobSpent(
        attempts=tuple(state.charged), starts=state.starts, held_more=_held_more(state, row)
    )


def _held_more(state: CallState, row: LedgerRow) -> dict[Unit, int]:
    claims = state.admission.claims
    more = {
        claim.unit: most_held(claims, claim.unit) - most_held(row.claims, claim.unit)
        for claim in row.claims
    }
    return {unit: amount for unit, amount in more.items() if amount > 0}


def goes_on(state: CallState, spent: JobSpent) -> None:
    """The call has spent that already, and holds so much more."""
    state.charged, state.starts = list(spent.attempts), spent.starts
    for unit, amount in spent.held_more.items():
        state.admission = state.admission.with_more(unit, amount)
