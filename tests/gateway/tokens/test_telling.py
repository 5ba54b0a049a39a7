"""Whoever has a token is told no figure of its key's budgets, in whatever way an error is told."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import msgspec
import pytest

from gateway.api.answers.relay import fail_stream
from gateway.api.requests.request import RequestContext, Send, respond_error
from gateway.money.limit_refusals import refusal
from gateway.money.scopes import tag_scope
from gateway.storage.base import Claim, LimitStatus, Refused
from gateway.types import MICRO, NANO, TOKEN_TAG, ApiError, ClientToken, Principal, Unit

FIGURE = 4711
PATHS = (
    *("/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/messages"),
    *("/v1/responses", "/v1/infer/any"),
)
UNITS: dict[Unit, tuple[str, int]] = {
    "nano_usd": ("day", FIGURE * NANO),
    "gpu_us": ("24h", FIGURE * MICRO),
    "requests": ("minute", FIGURE),
    "concurrent": ("", FIGURE),
    "calls": ("day", FIGURE),
    "tokens": ("day", FIGURE),
    "input_tokens": ("day", FIGURE),
    "output_tokens": ("24h", FIGURE),
}
KEY = Principal(key_id="k1", user="alice")
TOKEN = msgspec.structs.replace(KEY, token=ClientToken(id="tok_1", key_digest="00"))
OWN = tag_scope(TOKEN_TAG, "tok_1")


async def in_stream(send: Send, context: RequestContext, error: ApiError) -> None:
    await fail_stream(send, error, context)


WAYS: dict[str, Callable[[Send, RequestContext, ApiError], Awaitable[None]]] = {
    "whole": respond_error,
    "in a stream": in_stream,
}


def refused(scope: str, unit: Unit) -> ApiError:
    window, limit = UNITS[unit]
    claim = Claim(scope, unit, window, limit, limit)
    return refusal(Refused(LimitStatus(claim, limit, 5.0), 5.0))


async def told(caller: Principal, path: str, way: str, error: ApiError) -> str:
    """All that is sent."""
    sent: list[Any] = []

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(dict(message))

    context = RequestContext(
        request_id="req_1", path=path, headers={}, received=0.0, received_at=0.0, principal=caller
    )
    await WAYS[way](send, context, error)
    return str(sent)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("unit", UNITS)
async def test_a_figure_is_told_to_the_key_alone(unit: Unit, way: str) -> None:
    for path in PATHS:
        for scope in ("key:k1", "user:alice"):
            error = refused(scope, unit)
            assert str(FIGURE) in await told(KEY, path, way, error)
            seen = await told(TOKEN, path, way, error)
            assert error.code in seen
            assert str(FIGURE) not in seen
        assert str(FIGURE) in await told(TOKEN, path, way, refused(OWN, unit))
