"""POST /v1/messages/count_tokens: how many tokens a request of /v1/messages has.

Where a backend of the model counts them, it is a call like others, that reads and writes no token.
Elsewhere it is estimated here from the texts, and is no call: Anthropic's own count is an estimate
as well (https://docs.claude.com/en/docs/build-with-claude/token-counting).
"""

from __future__ import annotations

from gateway.api.calls.call_requests import serve
from gateway.api.calls.openai import parsed_call, with_betas
from gateway.api.requests.bodies import read_body
from gateway.api.requests.request import (
    JSON,
    Receive,
    RequestContext,
    Scope,
    Send,
    only,
    respond_json,
)
from gateway.money.estimates import prompt_tokens
from gateway.service import Gateway

_ESTIMATED = (b"x-spillgate-estimated", b"true")


class CountEndpoint:
    """Takes the body of /v1/messages. Raises ApiError as that does."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        context: RequestContext = scope["context"]
        only("POST", scope)
        active = self._gateway.active
        body = await read_body(self._gateway, context, receive)
        parsed = parsed_call(active, context.principal, "count_tokens", body)
        parsed = with_betas(parsed, context)
        backends = [active.backends[one] for one in active.policy.models[parsed.model].backends]
        if any("count_tokens" in one.adapter.capabilities.tasks for one in backends):
            await serve(self._gateway, context, parsed, receive, send)
            return
        counted = {"input_tokens": prompt_tokens(parsed.body, "messages")}
        await respond_json(send, context, counted, headers=[JSON, _ESTIMATED])
