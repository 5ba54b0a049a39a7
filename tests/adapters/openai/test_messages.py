"""Anthropic's own words to an engine that speaks them."""

from __future__ import annotations

import msgspec

from gateway.clock import FakeClock
from tests.adapters.openai.test_backend import BODY, a_call, upstream
from tests.adapters.servers import answer


async def test_a_message_is_sent_with_what_anthropic_wants_of_its_head(clock: FakeClock) -> None:
    whole = answer({"type": "message", "content": [], "usage": {"output_tokens": 1}})
    counted = answer({"input_tokens": 7})
    settings = {"native": frozenset(("messages",))}
    async with upstream(clock, whole, counted, **settings) as (backend, script):
        asked = a_call(task="messages")
        reply = await backend.invoke(msgspec.structs.replace(asked, betas="context-1m"))
        assert reply.usage.output_tokens == 1
        reply = await backend.invoke(a_call(task="count_tokens"))
        assert (reply.usage.input_tokens, reply.usage.output_tokens) == (0, 0)
        first, second = script.requests
        assert (first.target, second.target) == ("/v1/messages", "/v1/messages/count_tokens")
        assert first.headers["anthropic-beta"] == "context-1m"
        assert "anthropic-beta" not in second.headers
        assert second.headers["anthropic-version"] == "2023-06-01"
        assert (first.body, second.body) == (BODY, BODY)
