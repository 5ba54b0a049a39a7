"""A chat completion as an answer of OpenAI's /v1/responses, whole or as its typed events. Pure.

Shapes: https://platform.openai.com/docs/api-reference/responses/object and
https://platform.openai.com/docs/api-reference/responses-streaming, as of 2026-11.
"""

from __future__ import annotations

from typing import Any

import msgspec

from adapters.errors import malformed
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

_CUT = {"length": "max_output_tokens", "content_filter": "content_filter"}
_ECHOED: dict[str, Any] = {
    "instructions": None,
    "max_output_tokens": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "temperature": 1.0,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "tools": [],
    "top_p": 1.0,
    "truncation": "disabled",
    "user": None,
}
"""What a response repeats of its request, and what it says where that said nothing."""
_PARTS = {
    "message": ("response.output_text", "output_text", "text"),
    "refusal": ("response.refusal", "refusal", "refusal"),
    "reasoning": ("response.reasoning_text", "reasoning_text", "text"),
}
"""How the events of a text begin, the type of its part, and where that has it."""


class _Growing:
    """An item that grows: its place in the output, and the pieces that have come of it."""

    __slots__ = ("index", "kind", "logprobs", "pieces")

    def __init__(self, kind: str, index: int) -> None:
        self.kind = kind
        self.index = index
        self.pieces: list[str] = []
        self.logprobs: list[Any] = []


class ResponseWriter(Writer):
    """One answer. Texts grow one after the other; calls of tools may grow side by side, as a chat
    tells their pieces by number, and end together."""

    def __init__(self, call: Call) -> None:
        super().__init__(call)
        self._asked = object_of(call.body)
        self._id = call.id.removeprefix("req_")
        self._created = 0
        self._items: list[dict[str, Any]] = []
        self._text: _Growing | None = None
        self._tools = ToolPieces()
        self._calls: dict[int, _Growing] = {}
        self._finish: str | None = None
        self._number = -1

    def whole(self, body: bytes, usage: Usage) -> bytes:
        answer = object_of(body)
        choice = first_choice(answer)
        message = choice.get("message")
        if not isinstance(message, dict):
            raise malformed("The backend's answer holds no message.", usage=usage)
        self._created = _instant(answer)
        self._finish = choice.get("finish_reason")
        for kind, text in _texts_of(message):
            item = self._text_item(kind, "completed")
            item["content"] = [_part(kind, text, _logprobs_of(choice, kind))]
            self._items.append(item)
        for called in whole_calls(message.get("tool_calls")):
            self._items.append(self._call_item(called, "completed"))
        return msgspec.json.encode(self._response(self._status(), usage))

    def piece(self, event: dict[str, Any]) -> bytes:
        choice = first_choice(event)
        delta = choice.get("delta")
        if isinstance(reason := choice.get("finish_reason"), str):
            self._finish = reason
        written = b"" if self._number >= 0 else self._begin(event)
        if not isinstance(delta, dict):
            return written
        for kind, text in _texts_of(delta):
            written += self._grow(kind, text, _logprobs_of(choice, kind))
        for called in self._tools.read(delta.get("tool_calls")):
            written += self._call_piece(called)
        return written

    def last(self, usage: Usage) -> tuple[bytes, bytes]:
        before = b"" if self._number >= 0 else self._begin({})
        for called in self._tools.unnamed():
            before += self._call_piece(called)
        before += self._close()
        status = self._status()
        return before, self._event(f"response.{status}", response=self._response(status, usage))

    # --- the response ----------------------------------------------------------------------

    def _status(self) -> str:
        return "incomplete" if self._finish in _CUT else "completed"

    def _response(self, status: str, usage: Usage | None) -> dict[str, Any]:
        asked, reasoning = self._asked, self._asked.get("reasoning")
        effort = reasoning.get("effort") if isinstance(reasoning, dict) else None
        cut = {"reason": _CUT[str(self._finish)]} if status == "incomplete" else None
        echoed = {name: asked.get(name, default) for name, default in _ECHOED.items()}
        return {
            "id": f"resp_{self._id}",
            "object": "response",
            "created_at": self._created,
            "status": status,
            "error": None,
            "incomplete_details": cut,
            "model": self._model,
            "output": self._items,
            "previous_response_id": None,
            "reasoning": {"effort": effort, "summary": None},
            "store": False,
            "usage": None if usage is None else _used(usage),
            **echoed,
        }

    def _text_item(self, kind: str, status: str) -> dict[str, Any]:
        """Without its part."""
        number = len(self._items)
        if kind == "reasoning":
            own: dict[str, Any] = {"id": f"rs_{self._id}_{number}", "type": kind, "summary": []}
        else:
            name = f"msg_{self._id}_{number}"
            own = {"id": name, "type": "message", "role": "assistant"}
        return {**own, "content": [], "status": status}

    def _call_item(self, called: ToolPiece, status: str) -> dict[str, Any]:
        number = len(self._items)
        return {
            "id": f"fc_{self._id}_{number}",
            "type": "function_call",
            "call_id": called.id or f"call_{self._id}_{number}",
            "name": called.name,
            "arguments": called.arguments,
            "status": status,
        }

    # --- its events ------------------------------------------------------------------------

    def _event(self, name: str, /, **value: Any) -> bytes:
        self._number += 1
        return named_event(name, {"sequence_number": self._number, **value})

    def _begin(self, event: dict[str, Any]) -> bytes:
        self._created = _instant(event)
        response = self._response("in_progress", None)
        created = self._event("response.created", response=response)
        return created + self._event("response.in_progress", response=response)

    def _grow(self, kind: str, text: str, logprobs: list[Any]) -> bytes:
        written, growing = b"", self._text
        if growing is None or growing.kind != kind:
            written = self._close_text()
            growing = self._text = _Growing(kind, len(self._items))
            written += self._add(self._text_item(kind, "in_progress"))
            part, at = _part(kind, "", []), self._at_part(growing)
            written += self._event("response.content_part.added", **at, part=part)
        growing.pieces.append(text)
        growing.logprobs += logprobs
        said = {"delta": text, **_beside(kind, logprobs)}
        return written + self._event(f"{_PARTS[kind][0]}.delta", **self._at_part(growing), **said)

    def _call_piece(self, called: ToolPiece) -> bytes:
        written = b""
        if called.begins:
            written = self._close_text()
            self._calls[called.number] = _Growing("function_call", len(self._items))
            begun = called._replace(arguments="")
            written += self._add(self._call_item(begun, "in_progress"))
        growing = self._calls[called.number]
        if called.arguments:
            growing.pieces.append(called.arguments)
            name = "response.function_call_arguments.delta"
            written += self._event(name, **self._at(growing), delta=called.arguments)
        return written

    def _add(self, item: dict[str, Any]) -> bytes:
        self._items.append(item)
        index = len(self._items) - 1
        return self._event("response.output_item.added", output_index=index, item=item)

    def _close(self) -> bytes:
        """What grew is whole."""
        written = self._close_text()
        calls, self._calls = self._calls, {}
        return written + b"".join([self._close_call(growing) for growing in calls.values()])

    def _close_text(self) -> bytes:
        growing, self._text = self._text, None
        if growing is None:
            return b""
        kind, text = growing.kind, "".join(growing.pieces)
        name, _, field = _PARTS[kind]
        part, at = _part(kind, text, growing.logprobs), self._at_part(growing)
        said = {field: text, **_beside(kind, growing.logprobs)}
        written = self._event(f"{name}.done", **at, **said)
        written += self._event("response.content_part.done", **at, part=part)
        return written + self._done(growing, {"content": [part]})

    def _close_call(self, growing: _Growing) -> bytes:
        arguments = "".join(growing.pieces)
        said = {"arguments": arguments, "name": self._items[growing.index]["name"]}
        name = "response.function_call_arguments.done"
        written = self._event(name, **self._at(growing), **said)
        return written + self._done(growing, {"arguments": arguments})

    def _done(self, growing: _Growing, whole: dict[str, Any]) -> bytes:
        item = self._items[growing.index]
        item |= {**whole, "status": "completed"}
        at = growing.index
        return self._event("response.output_item.done", output_index=at, item=item)

    def _at(self, growing: _Growing) -> dict[str, Any]:
        return {"item_id": self._items[growing.index]["id"], "output_index": growing.index}

    def _at_part(self, growing: _Growing) -> dict[str, Any]:
        return {**self._at(growing), "content_index": 0}


def _texts_of(message: dict[str, Any]) -> list[tuple[str, str]]:
    """(What it is, a text) of a message or of a piece of one."""
    texts = (
        ("reasoning", reasoning_of(message)),
        ("message", text_of(message.get("content"))),
        ("refusal", text_of(message.get("refusal"))),
    )
    return [(kind, text) for kind, text in texts if text]


def _part(kind: str, text: str, logprobs: list[Any]) -> dict[str, Any]:
    _, type_, field = _PARTS[kind]
    beside = {"annotations": [], "logprobs": logprobs} if kind == "message" else {}
    return {"type": type_, field: text, **beside}


def _beside(kind: str, logprobs: list[Any]) -> dict[str, Any]:
    return {"logprobs": logprobs} if kind == "message" else {}


def _logprobs_of(choice: dict[str, Any], kind: str) -> list[Any]:
    """Of a text's tokens, which a chat has in the same words."""
    told = choice.get("logprobs") if kind == "message" else None
    content = told.get("content") if isinstance(told, dict) else None
    return content if isinstance(content, list) else []


def _instant(answer: dict[str, Any]) -> int:
    created = answer.get("created")
    return created if isinstance(created, int) else 0


def _used(usage: Usage) -> dict[str, Any]:
    given, made, parts = usage.input_tokens or 0, usage.output_tokens or 0, usage.parts
    return {
        "input_tokens": given,
        "input_tokens_details": {"cached_tokens": 0 if parts is None else parts.cached},
        "output_tokens": made,
        "output_tokens_details": {"reasoning_tokens": 0 if parts is None else parts.reasoning},
        "total_tokens": given + made,
    }
