"""The events of a stream that the gateway writes itself, in the shapes that OpenAI's have. Pure.

Shapes: https://platform.openai.com/docs/api-reference/chat-streaming
"""

from __future__ import annotations

import msgspec

from adapters.shapes.json_texts import UNREADABLE, value_in
from adapters.types import Call, Task, Usage
from gateway.dialects.faults import message_error, response_error
from gateway.tokens.telling import for_caller
from gateway.types import NANO, ApiError, Principal


def priced(event: bytes, cost_nano: int) -> bytes:
    """Adds the cost, in dollars, to an event's ``usage``; an event that cannot be read is passed
    as it is."""
    payload = event.strip().removeprefix(b"data:").strip()
    try:
        value = value_in(payload)
        value["usage"]["cost"] = cost_nano / NANO
    except (*UNREADABLE, KeyError, TypeError):
        return event
    return _event(value)


def usage_event(call: Call, usage: Usage, cost_nano: int, created_at: float) -> bytes:
    """The usage event that a caller asked for and the backend did not send by itself; empty where
    nobody knows the tokens. ``created_at``: seconds since the epoch."""
    if usage.input_tokens is None or usage.output_tokens is None:
        return b""
    return _event(
        {
            "id": call.id,
            "object": "chat.completion.chunk" if call.task == "chat" else "text_completion",
            "created": int(created_at),
            "model": call.model,
            "choices": [],
            "usage": {
                "prompt_tokens": usage.input_tokens,
                "completion_tokens": usage.output_tokens,
                "total_tokens": usage.input_tokens + usage.output_tokens,
                "cost": cost_nano / NANO,
            },
        }
    )


def events_in(data: bytes) -> int:
    """How many whole events there are, whatever their line ends."""
    if data.find(b"\r") < 0:
        return data.count(b"\n\n")
    return data.count(b"\n\n") + data.count(b"\n\r\n") + data.count(b"\r\r")


def whole_event(body: bytes) -> bytes:
    """A whole answer as the only event of a stream, with the end marker."""
    lines = b"".join(b"data: " + line + b"\n" for line in body.splitlines())
    return lines + b"\ndata: [DONE]\n\n"


def error_event(
    error: ApiError,
    caller: Principal,
    cost_nano: int | None,
    task: Task = "chat",
    request_id: str = "",
) -> bytes:
    """The error that ends a stream which broke off, as its caller may know it, in the words of its
    task, with what it cost where that is wanted."""
    body = for_caller(error, caller).body()
    if task == "messages":
        return message_error(error.status, body["error"], request_id)
    if task == "responses":
        return response_error(body["error"])
    if cost_nano is not None:
        body["usage"] = {"cost": cost_nano / NANO}
    return _event(body)


def _event(value: object) -> bytes:
    return b"data: " + msgspec.json.encode(value) + b"\n\n"
