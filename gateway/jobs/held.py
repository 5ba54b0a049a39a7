"""What a job that has not ended holds in the limits in force. Pure."""

from __future__ import annotations

from gateway.active_policy import ActivePolicy
from gateway.calls.admission import widened
from gateway.jobs.records import read_request
from gateway.storage.base import Claim
from gateway.storage.counters import TOTALS
from gateway.storage.jobs.base import HeldJob
from gateway.types import ApiError


def claims_in_force(active: ActivePolicy, held: HeldJob, now_at: float) -> tuple[Claim, ...]:
    """In limits too that came after the job was accepted. ``now_at``: seconds since the epoch."""
    request, row = read_request(held.request), held.row
    try:
        template = active.template(
            request.principal, request.model, now_at, request.preferences.tags
        )
    except ApiError:  # its plan has gone: what it holds stays
        return tuple(row.claims)
    limits = [claim for claim in template.limits if claim.unit in TOTALS]
    return widened(row.claims, limits, {"calls": 1, "nano_usd": row.hold_nano})
