"""POST /v1/route/explain: which backend a call would get, and why, without making it."""

from __future__ import annotations

from typing import Any

import msgspec

from adapters.types import Call
from gateway.api.bodies import parse_json, read_body
from gateway.api.call_requests import preferences_of
from gateway.api.openai import DECIDING, DECODERS, invalid_field, output_of, parts_in
from gateway.api.request import (
    Receive,
    RequestContext,
    Scope,
    Send,
    only,
    respond_json,
)
from gateway.money.inputs import TEXT_ALONE, InputParts
from gateway.policy.model import ModelSpec
from gateway.routing.router import Decision
from gateway.service import Gateway
from gateway.types import NANO, ApiError


class ExplainEndpoint:
    """Takes the very body that the call would have. Raises ApiError 400 for one that cannot be
    read, 404 for an unknown model."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        context: RequestContext = scope["context"]
        only("POST", scope)
        active = self._gateway.active
        body = await read_body(self._gateway, context, receive)
        value = parse_json(body)
        if not isinstance(value, dict) or not isinstance(value.get("model"), str):
            raise ApiError(400, "missing_field", "'model' is missing.", param="model")
        DECIDING.check(body)
        spec = active.model(value["model"])
        call = Call(
            id=context.request_id,
            model=value["model"],
            task=spec.task,
            body=body,
            stream=value.get("stream") is True,
        )
        preferences = preferences_of(context, *_output_of(spec, body))
        decision = self._gateway.dispatcher.decide(
            active, call, context.principal, preferences, received_at=context.received_at
        )
        await respond_json(send, context, as_json(decision, active.policy.version))


def _output_of(spec: ModelSpec, body: bytes) -> tuple[int, int, InputParts]:
    """As the call itself would have it; what a native call's body says is nobody's to read."""
    if spec.task == "embeddings":
        return 0, 0, TEXT_ALONE
    if spec.task == "infer":
        return spec.max_output_tokens, 0, TEXT_ALONE
    try:
        envelope = DECODERS[spec.task].decode(body)
        return *output_of(envelope, spec.task, spec.max_output_tokens), parts_in(envelope)
    except msgspec.ValidationError as error:
        raise invalid_field(error) from None


def as_json(decision: Decision, policy: str) -> dict[str, Any]:
    """A decision in numbers that a person can check; prices in US dollars."""
    return {
        "backend": decision.quotes[0].backend if decision.quotes else None,
        "reason": decision.reason,
        "route": decision.route,
        "slo_seconds": decision.slo,
        "policy": policy,
        "candidates": [
            {
                "backend": quote.backend,
                "predicted_delay_seconds": round(quote.delay.seconds, 6),
                "cold_start": quote.delay.cold,
                "predicted_load_seconds": round(quote.delay.load_s, 6),
                "reserved": quote.reserved,
                "predicted_price_usd": quote.estimate.marginal / NANO,
                "predicted_charge_usd": quote.estimate.charge / NANO,
                "hold_usd": quote.estimate.hold / NANO,
            }
            for quote in decision.quotes
        ],
        "refused": [{"backend": name, "reason": code} for name, code in decision.refused],
    }
