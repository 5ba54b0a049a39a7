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
_TEXTS = {
    "message": ("response.output_text", "text"),
    "reasoning": ("response.reasoning_text", "text"),
}


class ResponseWriter(Writer):
    """One answer; its items grow one after the other."""

    def __init__(self, call: Call) -> None:
        super().__init__(call)
        self._asked = object_of(call.body)
        self._id = call.id.removeprefix("req_")
        self._created = 0
        self._items: list[dict[str, Any]] = []
        self._growing: str | None = None
        """What the last item is while it grows; a call is "function_call:2"."""
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
        if thought := reasoning_of(message):
            self._items.append(self._text_item("reasoning", thought, "completed"))
        if text := text_of(message.get("content")) or text_of(message.get("refusal")):
            self._items.append(self._text_item("message", text, "completed"))
        for called in message.get("tool_calls") or ():
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
        if thought := reasoning_of(delta):
            written += self._grow("reasoning", thought)
        if text := text_of(delta.get("content")) or text_of(delta.get("refusal")):
            written += self._grow("message", text)
        for called in delta.get("tool_calls") or ():
            written += self._call_piece(called if isinstance(called, dict) else {})
        return written

    def last(self, usage: Usage) -> tuple[bytes, bytes]:
        before = b"" if self._number >= 0 else self._begin({})
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

    def _text_item(self, kind: str, text: str, status: str) -> dict[str, Any]:
        number = len(self._items)
        if kind == "reasoning":
            part: dict[str, Any] = {"type": "reasoning_text", "text": text}
            item = {"id": f"rs_{self._id}_{number}", "type": kind, "summary": []}
            return {**item, "content": [part] if text else [], "status": status}
        part = {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
        item = {"id": f"msg_{self._id}_{number}", "type": kind, "role": "assistant"}
        return {**item, "content": [part] if text else [], "status": status}

    def _call_item(self, called: Any, status: str) -> dict[str, Any]:
        called = called if isinstance(called, dict) else {}
        function = called.get("function") or {}
        number = len(self._items)
        return {
            "id": f"fc_{self._id}_{number}",
            "type": "function_call",
            "call_id": called.get("id") or f"call_{self._id}_{number}",
            "name": function.get("name") or "",
            "arguments": function.get("arguments") or "",
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

    def _grow(self, kind: str, text: str) -> bytes:
        written = b""
        if self._growing != kind:
            written = self._close()
            item = self._text_item(kind, "", "in_progress")
            written += self._add(kind, item)
            part = self._text_item(kind, "?", "")["content"][0] | {"text": ""}
            item["content"] = [part]
            written += self._event("response.content_part.added", **self._at_part(), part=part)
        part = self._items[-1]["content"][0]
        part["text"] += text
        name = f"{_TEXTS[kind][0]}.delta"
        said = {"delta": text, **_logprobs(kind)}
        return written + self._event(name, **self._at_part(), **said)

    def _call_piece(self, called: dict[str, Any]) -> bytes:
        kind, written = f"function_call:{called.get('index') or 0}", b""
        arguments = (called.get("function") or {}).get("arguments") or ""
        if self._growing != kind:
            written = self._close()
            item = self._call_item(called, "in_progress") | {"arguments": ""}
            written += self._add(kind, item)
        if arguments:
            self._items[-1]["arguments"] += arguments
            name = "response.function_call_arguments.delta"
            written += self._event(name, **self._at(), delta=arguments)
        return written

    def _add(self, kind: str, item: dict[str, Any]) -> bytes:
        self._items.append(item)
        self._growing = kind
        index = len(self._items) - 1
        return self._event("response.output_item.added", output_index=index, item=item)

    def _close(self) -> bytes:
        """The item that grew is whole."""
        kind, self._growing = self._growing, None
        if kind is None:
            return b""
        item = self._items[-1]
        if kind in _TEXTS:
            part, name = item["content"][0], _TEXTS[kind][0]
            said = {"text": part["text"], **_logprobs(kind)}
            written = self._event(f"{name}.done", **self._at_part(), **said)
            written += self._event("response.content_part.done", **self._at_part(), part=part)
        else:
            said = {"arguments": item["arguments"], "name": item["name"]}
            name = "response.function_call_arguments.done"
            written = self._event(name, **self._at(), **said)
        item["status"] = "completed"
        index = len(self._items) - 1
        return written + self._event("response.output_item.done", output_index=index, item=item)

    def _at(self) -> dict[str, Any]:
        return {"item_id": self._items[-1]["id"], "output_index": len(self._items) - 1}

    def _at_part(self) -> dict[str, Any]:
        return {**self._at(), "content_index": 0}


def _logprobs(kind: str) -> dict[str, Any]:
    return {"logprobs": []} if kind == "message" else {}


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
