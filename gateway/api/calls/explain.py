"""POST /v1/route/explain: which backend a call would get, and why, without making it.

The caller's limits are asked, and nothing of them is taken."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec

from adapters.types import ANY_IMAGE, Call
from gateway.active_policy import ActivePolicy
from gateway.api.calls.call_requests import all_preferences
from gateway.api.calls.openai import (
    DECIDING,
    DECODERS,
    abilities_in,
    invalid_field,
    output_of,
    parts_in,
)
from gateway.api.calls.plain import images_in
from gateway.api.requests.bodies import parse_json, read_body
from gateway.api.requests.request import (
    NO_ABILITIES,
    ParsedRequest,
    Receive,
    RequestContext,
    Scope,
    Send,
    only,
    respond_json,
)
from gateway.api.requests.sessions import session_of_chat
from gateway.calls.history import seen_record
from gateway.calls.refusals import store_unavailable
from gateway.calls.state import CallState
from gateway.money.call_reports import seen_as_json
from gateway.money.inputs import TEXT_ALONE
from gateway.money.limit_refusals import refusal
from gateway.money.room import Room
from gateway.policy.model import ModelSpec
from gateway.routing.router import Decision, Quote, reason_for
from gateway.routing.sums import delay_spread, price_parts
from gateway.service import Gateway
from gateway.storage.base import LimitStatus, StorageUnavailable
from gateway.storage.claims import ClaimTemplate
from gateway.types import MICRO, NANO, ApiError
from gateway.warm.planned import BackendPlan


class ExplainEndpoint:
    """Takes the very body that the call would have. Raises ApiError 400 for one that cannot be
    read, 404 for an unknown model."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        context: RequestContext = scope["context"]
        only("POST", scope)
        active = self._gateway.active.of(context.principal.user)
        body = await read_body(self._gateway, context, receive)
        value = parse_json(body)
        if not isinstance(value, dict) or not isinstance(value.get("model"), str):
            raise ApiError(400, "missing_field", "'model' is missing.", param="model")
        DECIDING.check(body)
        spec = active.model(value["model"], context.principal)
        call = Call(
            id=context.request_id,
            model=active.target(value["model"], context.principal),
            task=spec.task,
            body=body,
            stream=value.get("stream") is True,
        )
        parsed = _parsed(active, call, spec, _session(value, body))
        preferences = all_preferences(self._gateway, context, parsed)
        state = CallState(
            call,
            call.model,
            context.principal,
            preferences,
            received=context.received,
            received_at=context.received_at,
            policy=active.policy.version,
            task=asyncio.current_task(),
        )
        told = await self._explain(active, state)
        hedges, now = self._gateway.hedges, self._gateway.clock.monotonic()
        hedge = None if hedges is None else hedges.foreseen(active, state, told.quotes, now)
        plans = None if self._gateway.plans is None else self._gateway.plans.last
        found = as_json(told, active.policy.version, plans)
        found["hedge"] = None if hedge is None else msgspec.structs.asdict(hedge)
        await respond_json(send, context, found)

    async def _explain(self, active: ActivePolicy, state: CallState) -> Explanation:
        room = Room(await self._left(active.template(state.principal, tags=state.preferences.tags)))
        wanted = state.preferences
        quotes = await self._gateway.dispatcher.admitting.foresee(active, state, room)
        assert state.decision is not None
        left = state.preferences.output_tokens
        bound = left // wanted.unbounded if quotes and left < wanted.output_tokens else None
        return explanation(state.decision, quotes, room, bound)

    async def _left(self, template: ClaimTemplate) -> tuple[LimitStatus, ...]:
        """What the caller's limits have left. Raises ApiError 503 where the store cannot say."""
        if not template.limits:
            return ()
        try:
            return await self._gateway.shared.statuses(template.limits)
        except StorageUnavailable as unavailable:
            raise store_unavailable(unavailable) from None


def _session(value: dict[str, Any], body: bytes) -> str:
    key, messages = value.get("prompt_cache_key"), value.get("messages")
    return session_of_chat(
        key if isinstance(key, str) else None,
        messages if isinstance(messages, list) else None,
        len(body),
    )


def _parsed(active: ActivePolicy, call: Call, spec: ModelSpec, session: str) -> ParsedRequest:
    """As the call itself would have it; what a native call's body says is nobody's to read."""
    output, unbounded, parts, abilities = 0, 0, TEXT_ALONE, NO_ABILITIES
    images, image = (0, ANY_IMAGE) if spec.task != "images" else images_in(call.body, spec)
    if spec.task in ("infer", "realtime"):
        output = spec.max_output_tokens
    elif spec.task in DECODERS:
        try:
            envelope = DECODERS[spec.task].decode(call.body)
        except msgspec.ValidationError as error:
            raise invalid_field(error) from None
        output, unbounded = output_of(envelope, spec.task, spec.max_output_tokens)
        parts = parts_in(envelope)
        if call.model in active.demands.choosy:
            abilities = abilities_in(envelope, parts)
    return ParsedRequest(
        call.model,
        spec.task,
        call.body,
        call.stream,
        False,
        output,
        unbounded,
        parts,
        images=images,
        image=image,
        abilities=abilities,
        session=session,
    )


class Explanation(msgspec.Struct, frozen=True):
    """A decision as far as the caller's limits let it come true."""

    decision: Decision
    quotes: tuple[Quote, ...]
    """Those that there is money for."""
    dear: tuple[tuple[str, ApiError], ...] = ()
    """The others, each with what the call would be told."""
    refusals: tuple[ApiError, ...] = ()
    """What the call would be told at the moment, whatever the backend."""
    output_bound: int | None = None
    """Tokens that an answer without a bound is given, where the budget reaches for no more."""


def explanation(
    decision: Decision, quotes: tuple[Quote, ...], room: Room, output_bound: int | None
) -> Explanation:
    """``quotes`` are those that the call would be sent to, ``room`` is that of its caller."""
    left = {quote.backend for quote in quotes}
    dear = [quote for quote in decision.quotes if quote.backend not in left]
    told = [(quote.backend, room.short_of_money(quote.estimate.hold)) for quote in dear]
    longest = max((quote.hold_s for quote in quotes), default=0.0)
    return Explanation(
        decision,
        quotes,
        tuple((backend, refusal(short)) for backend, short in told if short is not None),
        tuple(room.refusals(round(longest * MICRO))),
        output_bound,
    )


LastPlan = Callable[[str], BackendPlan | None]


def as_json(told: Explanation, policy: str, plans: LastPlan | None = None) -> dict[str, Any]:
    """A decision in numbers that a person can check; prices in US dollars. ``plans``: the last look
    of the plan of a backend's workers."""
    decision, quotes = told.decision, told.quotes
    candidates = {quote.backend for quote in decision.quotes}
    refused = [(name, code) for name, code in decision.refused if name not in candidates]
    return {
        "backend": quotes[0].backend if quotes else None,
        "reason": reason_for(decision, quotes[0]) if quotes else "NONE",
        "route": decision.route,
        "slo_seconds": decision.slo,
        "caller_region": decision.region or None,
        "policy": policy,
        "output_bound": told.output_bound,
        "would_be_refused": [_error(error) for error in told.refusals],
        "candidates": [
            {
                **_candidate(quote, decision),
                **_in_session(quote),
                **_details(quote),
                **_plan(quote, plans),
            }
            for quote in quotes
        ],
        "refused": [{"backend": name, "reason": code} for name, code in refused]
        + [
            {"backend": name, "reason": error.code, "message": error.message}
            for name, error in told.dear
        ],
    }


def _candidate(quote: Quote, decision: Decision) -> dict[str, Any]:
    return {
        "backend": quote.backend,
        "last_resort": dict(decision.refused).get(quote.backend),
        "predicted_delay_seconds": round(quote.delay.seconds, 6),
        "cold_start": quote.delay.cold,
        "predicted_load_seconds": round(quote.delay.load_s, 6),
        "reserved": quote.reserved,
        "predicted_price_usd": quote.estimate.marginal / NANO,
        "predicted_charge_usd": quote.estimate.charge / NANO,
        "hold_usd": quote.estimate.hold / NANO,
    }


def _in_session(quote: Quote) -> dict[str, Any]:
    """What it means that the conversation was read elsewhere, or here."""
    lost = quote.lost
    if lost is None:
        return {}
    return {
        "session": {
            "kept_tokens": lost.kept,
            "lost_tokens": lost.tokens,
            "lost_seconds": round(lost.seconds, 6),
            "lost_usd": lost.nano / NANO,
        }
    }


def _details(quote: Quote) -> dict[str, Any]:
    """What was seen, and what follows from it."""
    seen = quote.seen
    if seen is None:
        return {}
    spread = delay_spread(seen.load, seen.run, seen.cold_p50, seen.cold_p95)
    parts = price_parts(quote)
    return {
        "saw": seen_as_json(seen_record(seen)),
        "delay_low_seconds": round(spread.low, 6),
        "delay_high_seconds": round(spread.high, 6),
        "price_parts_usd": {
            "run": parts.run / NANO,
            "start": parts.start / NANO,
            "wait_after": parts.wait_after / NANO,
            "rest": parts.rest / NANO,
        },
    }


def _plan(quote: Quote, plans: LastPlan | None) -> dict[str, Any]:
    last = None if plans is None else plans(quote.backend)
    if last is None:
        return {}
    return {"plan": {"workers": last.minimum.workers, "because": last.minimum.because}}


def _error(error: ApiError) -> dict[str, Any]:
    return {"status": error.status, "code": error.code, "message": error.message}
