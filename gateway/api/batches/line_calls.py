"""The call that is in a line of a batch: what the route that the batch is for makes of its body."""

from __future__ import annotations

import msgspec

from adapters.routes import CALLERS_ROUTES, PLAIN_ROUTES
from adapters.types import JSON_TYPE
from gateway.active_policy import ActivePolicy
from gateway.api.calls.infer import parsed_json
from gateway.api.calls.openai import parsed_call
from gateway.api.calls.plain import Sent, parsed_plain
from gateway.api.calls.wrong_endpoint import wrong_endpoint
from gateway.api.requests.bodies import parse_json
from gateway.api.requests.request import ParsedRequest
from gateway.batches.feeding import LineCall
from gateway.preferences import Preferences
from gateway.responses.conversation import previous_of
from gateway.types import ApiError, Principal

_INFER = "/v1/infer/"


def endpoints() -> str:
    """Those that a batch may be for, for a person."""
    return f"{', '.join(sorted(CALLERS_ROUTES))} or {_INFER}MODEL"


def is_endpoint(endpoint: str) -> bool:
    """Whether a batch may be for it."""
    is_infer = endpoint.startswith(_INFER) and len(endpoint) > len(_INFER)
    return endpoint in CALLERS_ROUTES or is_infer


def read_call(active: ActivePolicy, principal: Principal, endpoint: str, body: bytes) -> LineCall:
    """Raises ApiError 400 for a body that cannot be read, 403 and 404 for a model."""
    parsed = _parsed(active, principal, endpoint, body)
    if parsed.stream:
        raise ApiError(
            400,
            "unsupported",
            "The answer to a line is whole: leave `stream` out of its body.",
            param="body.stream",
        )
    return call_of(active, parsed)


def call_of(active: ActivePolicy, parsed: ParsedRequest) -> LineCall:
    """With nothing asked for beside the body."""
    preferences = Preferences(
        output_tokens=parsed.output_tokens,
        unbounded=parsed.unbounded,
        parts=parsed.parts,
        images=parsed.images,
        image=parsed.image,
    )
    if parsed.model in active.demands.models:
        needs = active.demands.needs(parsed, parsed.abilities)
        preferences = msgspec.structs.replace(preferences, needs=needs)
    return LineCall(
        model=parsed.model,
        task=parsed.task,
        body=parsed.body,
        preferences=preferences,
        sent=parsed.sent,
        declared=parsed.declared,
    )


def _parsed(
    active: ActivePolicy, principal: Principal, endpoint: str, body: bytes
) -> ParsedRequest:
    task = CALLERS_ROUTES.get(endpoint)
    if task in PLAIN_ROUTES:
        return parsed_plain(active, principal, task, Sent(body, JSON_TYPE))
    if task is not None:
        if task == "responses" and (kept := previous_of(body)):
            raise _goes_on(kept)
        return parsed_call(active, principal, task, body)
    model = endpoint.removeprefix(_INFER)
    parse_json(body)
    spec = active.model(model, principal)
    if spec.task != "infer":
        raise wrong_endpoint(model, spec, "infer", param="url")
    return parsed_json(active, principal, model, body)


def _goes_on(previous: str) -> ApiError:
    return ApiError(
        400,
        "unsupported",
        f"A line goes on from no other response, and this one names {previous[:80]!r}: put what "
        "was said before into its `input`.",
        param="body.previous_response_id",
    )
