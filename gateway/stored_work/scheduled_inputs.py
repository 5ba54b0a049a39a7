"""The call that a schedule's job makes: what POST /v1/jobs makes of the same input."""

from __future__ import annotations

from gateway.active_policy import ActivePolicy
from gateway.api.batches.line_calls import call_of
from gateway.api.jobs.job_requests import parsed_input
from gateway.batches.feeding import LineCall
from gateway.types import Principal


def read_input(active: ActivePolicy, principal: Principal, model: str, body: bytes) -> LineCall:
    """Raises ApiError 400 for an input that cannot be read, 403 and 404 for a model."""
    return call_of(active, parsed_input(active, principal, model, body))
