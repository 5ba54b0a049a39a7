"""A chat completion as an answer of Anthropic's /v1/messages, whole or as its events. Pure.

Shapes: https://docs.claude.com/en/api/messages and
https://docs.claude.com/en/docs/build-with-claude/streaming, as of 2026-11.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from adapters.errors import malformed
from adapters.shapes.json_texts import UNREADABLE, value_in
from adapters.types import Call, Usage
from gateway.dialects.streams import (
    Writer,
    first_choice,
    named_event,
    object_of,
    reasoning_of,
    text_of,
)
from gateway.dialects.tool_pieces import ToolPiece, ToolPieces, whole_calls

_REASONS = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "function_call": "tool_use",
    "content_filter": "refusal",
}
_DELTAS = {"text": ("text_delta", "text"), "thinking": ("thinking_delta", "thinking")}


class MessageWriter(Writer):
    """One answer. ``stop_sequence`` is told where the engine says which text it stopped at, as
    vLLM does in ``stop_reason``."""

    def __init__(self, call: Call) -> None:
        super().__init__(call)
        self._begun = False
        self._open: tuple[str, int] | None = None
        """The kind of the block that grows, and its number; a tool's call is "tool_use:2"."""
        self._blocks = 0
        self._tools = ToolPieces()
        self._tool_blocks: dict[int, int] = {}
        self._refuses = False
        self._finish: str | None = None
        self._stopped_at: str | None = None

    def whole(self, body: bytes, usage: Usage) -> bytes:
        choice = first_choice(object_of(body))
        message = choice.get("message")
        if not isinstance(message, dict):
            raise malformed("The backend's answer holds no message.", usage=usage)
        self._read_end(choice)
        content = self._content(message)
        return msgspec.json.encode(
            {**self._head(content, usage), "stop_reason": self._reason(content), **self._stopped()}
        )

    def piece(self, event: dict[str, Any]) -> bytes:
        choice = first_choice(event)
        delta = choice.get("delta")
        self._read_end(choice)
        written = b"" if self._begun else self._begin()
        if not isinstance(delta, dict):
            return written
        if thought := reasoning_of(delta):
            written += self._grow("thinking", thought)
        if text := self._text_of(delta):
            written += self._grow("text", text)
        for called in self._tools.read(delta.get("tool_calls")):
            written += self._call_piece(called)
        return written

    def last(self, usage: Usage) -> tuple[bytes, bytes]:
        before = b"" if self._begun else self._begin()
        before += b"".join([self._call_piece(called) for called in self._tools.unnamed()])
        before += self._close()
        reason = self._reason([{"type": "tool_use"}] if self._tools else [])
        delta = {"stop_reason": reason, **self._stopped()}
        before += named_event("message_delta", {"delta": delta, "usage": _used(usage)})
        return before, named_event("message_stop", {})

    # --- inside ----------------------------------------------------------------------------

    def _head(self, content: list[dict[str, Any]], usage: Usage) -> dict[str, Any]:
        return {
            "id": f"msg_{self._call.id.removeprefix('req_')}",
            "type": "message",
            "role": "assistant",
            "model": self._model,
            "content": content,
            "stop_reason": None,
            "stop_sequence": None,
            "usage": _used(usage),
        }

    def _read_end(self, choice: dict[str, Any]) -> None:
        if isinstance(reason := choice.get("finish_reason"), str):
            self._finish = reason
        if isinstance(stopped := choice.get("stop_reason"), str):
            self._stopped_at = stopped

    def _content(self, message: dict[str, Any]) -> list[dict[str, Any]]:
        content: list[dict[str, Any]] = []
        if thought := reasoning_of(message):
            content.append({"type": "thinking", "thinking": thought, "signature": ""})
        if text := self._text_of(message):
            content.append({"type": "text", "text": text})
        for called in whole_calls(message.get("tool_calls")):
            content.append({**self._tool_use(called), "input": _arguments(called.arguments)})
        return content

    def _text_of(self, message: dict[str, Any]) -> str:
        """Of a message, or a piece of one: what is said, or why nothing is."""
        refusal = text_of(message.get("refusal"))
        self._refuses = self._refuses or bool(refusal)
        return text_of(message.get("content")) or refusal

    def _tool_use(self, called: ToolPiece) -> dict[str, Any]:
        id = called.id or f"toolu_{self._call.id.removeprefix('req_')}_{called.number}"
        return {"type": "tool_use", "id": id, "name": called.name, "input": {}}

    def _reason(self, content: list[dict[str, Any]]) -> str:
        if self._finish == "stop" and self._stopped_at is not None:
            return "stop_sequence"
        if self._finish == "stop" and self._refuses:
            return "refusal"
        if self._finish == "stop" and any(block["type"] == "tool_use" for block in content):
            return "tool_use"
        return _REASONS.get(self._finish or "stop", "end_turn")

    def _stopped(self) -> dict[str, Any]:
        return {"stop_sequence": self._stopped_at if self._finish == "stop" else None}

    def _begin(self) -> bytes:
        self._begun = True
        nothing = Usage(input_tokens=0, output_tokens=0)
        return named_event("message_start", {"message": self._head([], nothing)})

    def _grow(self, kind: Literal["text", "thinking"], text: str) -> bytes:
        written = b""
        if self._open is None or self._open[0] != kind:
            empty = {"text": {"text": ""}, "thinking": {"thinking": "", "signature": ""}}[kind]
            written = self._start(kind, {"type": kind, **empty})
        assert self._open is not None
        name, field = _DELTAS[kind]
        return written + _delta(self._open[1], {"type": name, field: text})

    def _call_piece(self, called: ToolPiece) -> bytes:
        """Part of a call of a tool: its beginning, or more of its arguments."""
        written, number = b"", called.number
        if called.begins:
            self._tool_blocks[number] = self._blocks
            written = self._start(f"tool_use:{number}", self._tool_use(called))
        if called.arguments:
            piece = {"type": "input_json_delta", "partial_json": called.arguments}
            written += _delta(self._tool_blocks[number], piece)
        return written

    def _start(self, kind: str, block: dict[str, Any]) -> bytes:
        written = self._close()
        self._open = (kind, self._blocks)
        self._blocks += 1
        start = {"index": self._open[1], "content_block": block}
        return written + named_event("content_block_start", start)

    def _close(self) -> bytes:
        if self._open is None:
            return b""
        _, number = self._open
        self._open = None
        return named_event("content_block_stop", {"index": number})


def _delta(index: int, delta: dict[str, Any]) -> bytes:
    return named_event("content_block_delta", {"index": index, "delta": delta})


def _arguments(text: str) -> dict[str, Any]:
    """What a model wrote as a tool's arguments: what is no JSON object stands under
    ``arguments``, since Anthropic's clients take objects alone."""
    if not text:
        return {}
    try:
        value = value_in(text)
    except UNREADABLE:
        value = text
    return value if isinstance(value, dict) else {"arguments": value}


def _used(usage: Usage) -> dict[str, Any]:
    """In Anthropic's words, where tokens of a cache stand beside those of the input."""
    parts = usage.parts
    cached = 0 if parts is None else parts.cached
    written = 0 if parts is None else parts.cache_write + parts.cache_write_1h
    return {
        "input_tokens": max((usage.input_tokens or 0) - cached - written, 0),
        "output_tokens": usage.output_tokens or 0,
        "cache_read_input_tokens": cached,
        "cache_creation_input_tokens": written,
    }
