"""What is documented of the realtime protocol passes as it is, by OpenAI's own client: the same
conversation with a server directly and through the gateway is the same, event by event."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import openai

from gateway.clock import FakeClock
from tests.adapters.openai.documented_realtime import SPEECH, DocumentedRealtime
from tests.gateway.realtime.conversations import talks

TOOL: dict[str, Any] = {
    "type": "function",
    "name": "level",
    "description": "How high a lake is",
    "parameters": {"type": "object", "properties": {"next": {"$ref": "#"}}},
}
DONE = "response.done"
_TEXT, _CACHED, _SOUND, _WRITTEN, _SPOKEN = 4_000, 400, 32_000, 16_000, 64_000
"""Nano-dollars a token."""


class Told:
    """What a client has heard."""

    def __init__(self, talk: Any) -> None:
        self.talk = talk
        self.events: list[Any] = []

    async def until(self, kind: str) -> dict[str, Any]:
        """Hears up to an event of this type."""
        while not self.events or self.events[-1]["type"] != kind or self.events[-1] is self.last:
            self.events.append((await self.talk.recv()).to_dict())
        self.last = self.events[-1]
        return dict(self.last)

    last: Any = None


async def conversation(client: openai.AsyncOpenAI, model: str) -> list[Any]:
    """All that is documented of what a client may say."""
    async with client.realtime.connect(model=model) as talk:
        told = Told(talk)
        await told.until("session.created")
        await talk.session.update(session={"type": "realtime", "output_modalities": ["text"]})
        await told.until("session.updated")
        said: Any = {"type": "input_text", "text": "grüezi 👋🏽"}
        message: Any = {"type": "message", "role": "user", "content": [said]}
        await talk.conversation.item.create(item=message)
        item = (await told.until("conversation.item.done"))["item"]["id"]
        await talk.response.create(response={"metadata": {"topic": "lakes"}})
        await told.until(DONE)
        await talk.conversation.item.retrieve(item_id=item)
        await told.until("conversation.item.retrieved")
        await talk.response.create(response={"output_modalities": ["audio"]})
        spoken = (await told.until(DONE))["response"]["output"][0]["id"]
        await talk.conversation.item.truncate(item_id=spoken, content_index=0, audio_end_ms=200)
        await told.until("conversation.item.truncated")
        await talk.conversation.item.delete(item_id=item)
        await told.until("conversation.item.deleted")
        await talk.response.create(response={"instructions": "wait"})
        await told.until("response.output_text.delta")
        await talk.response.create(event_id="again")
        assert (await told.until("error"))["error"]["event_id"] == "again"
        await talk.response.cancel()
        await told.until(DONE)
        await talk.response.cancel(event_id="nothing")
        await told.until("error")
        await talk.send({"type": "response.dance", "event_id": "odd"})
        await told.until("error")
        await talk.input_audio_buffer.append(audio=SPEECH[:800])
        await talk.input_audio_buffer.clear()
        await told.until("input_audio_buffer.cleared")
        await talk.input_audio_buffer.append(audio=SPEECH[:800])
        await talk.input_audio_buffer.commit()
        await told.until("conversation.item.input_audio_transcription.completed")
        detects: Any = {"input": {"turn_detection": {"type": "server_vad"}}}
        tools: Any = [TOOL]
        await talk.session.update(session={"type": "realtime", "audio": detects, "tools": tools})
        await told.until("session.updated")
        await talk.input_audio_buffer.append(audio=SPEECH)
        called = (await told.until(DONE))["response"]["output"][0]
        found: Any = {
            "type": "function_call_output",
            "call_id": called["call_id"],
            "output": "3 m",
        }
        await talk.conversation.item.create(item=found)
        await talk.response.create()
        await told.until(DONE)
    return told.events


def cost_of(events: list[Any]) -> int:
    """What its responses come to in nano-dollars, token by token, and its transcriptions."""
    cost = 0
    for event in events:
        if event["type"].endswith("transcription.completed"):
            details = event["usage"]["input_token_details"]
            cost += details["text_tokens"] * _TEXT + details["audio_tokens"] * _SOUND
            cost += event["usage"]["output_tokens"] * _WRITTEN
        if event["type"] == DONE:
            usage = event["response"]["usage"]
            given, made = usage["input_token_details"], usage["output_token_details"]
            cached = given["cached_tokens_details"]
            cost += (given["text_tokens"] - cached["text_tokens"]) * _TEXT
            cost += (given["audio_tokens"] - cached["audio_tokens"]) * _SOUND
            cost += given["cached_tokens"] * _CACHED
            cost += made["text_tokens"] * _WRITTEN + made["audio_tokens"] * _SPOKEN
    return cost


async def test_a_conversation_is_the_same_through_the_gateway_event_by_event(
    tmp_path: Path, clock: FakeClock
) -> None:
    server = DocumentedRealtime()
    rates = (
        "{per_million_input: 4, per_million_cached_input: 0.4, per_million_audio_input: 32, "
        "per_million_output: 16, per_million_audio_output: 64, as_of: 2026-11-01, source: test}"
    )
    async with talks(tmp_path, clock, server, rates=rates) as found:
        direct = openai.AsyncOpenAI(api_key="k", base_url=f"{server.url}/v1", max_retries=0)
        own = await conversation(direct, "up")
        asked, server.events = server.events, []
        through = await conversation(found.client(found.gateway.key(plan="default")), "talk")
        assert through == own
        assert server.events == asked
        assert [event["type"] for event in server.undocumented] == ["response.dance"] * 2
        row = await found.row()
        assert (row.outcome, row.cost_basis) == ("success", "reported")
        assert row.cost_nano == cost_of(own)
        kinds = {event["type"] for event in own}
        assert len(kinds) > 25
