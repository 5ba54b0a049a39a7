"""Requests that were refused before a backend was asked leave a line in the access log."""

from __future__ import annotations

from gateway.access_log import refused_line
from gateway.api.requests.request import RequestContext
from gateway.service import Gateway
from gateway.types import ApiError


def log_refused(
    gateway: Gateway, context: RequestContext, error: ApiError, model: str = ""
) -> None:
    """``model``: where it is known by then."""
    clock = gateway.clock
    gateway.access_log.add_refused(
        refused_line(
            at=clock.time(),
            id=context.request_id,
            principal=context.principal,
            model=model,
            policy=gateway.active.policy.version,
            status=error.status,
            code=error.code,
            ms=(clock.monotonic() - context.received) * 1000,
            path=context.path,
            client="" if context.principal.key_id else context.client,
        )
    )
