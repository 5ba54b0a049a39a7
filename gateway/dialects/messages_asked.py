"""A request to Anthropic's /v1/messages as one for a chat completion. Pure.

Shapes: https://docs.claude.com/en/api/messages and
https://platform.openai.com/docs/api-reference/chat/create, as of 2026-11. What a chat cannot say
raises UNSUPPORTED, so that a backend that speaks Anthropic's words may still be asked; hints
without an effect on what is said (``cache_control``, ``metadata``, ``thinking``, ``service_tier``)
are left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from adapters.errors import takes_no
from gateway.dialects.streams import object_of, text_of

_SAME = ("model", "temperature", "top_p", "top_k", "stream")
_CHOICES = {"auto": "auto", "any": "required", "none": "none"}


def chat_of_message(body: bytes, bound: str = "max_tokens") -> bytes:
    """The body of the chat completion, its ``bound`` the field that bounds the answer. Raises
    UNSUPPORTED for what it cannot say."""
    asked = object_of(body)
    chat = {name: asked[name] for name in _SAME if asked.get(name) is not None}
    if asked.get("max_tokens") is not None:
        chat[bound] = asked["max_tokens"]
    chat["messages"] = [*_system(asked.get("system")), *_messages(asked.get("messages"))]
    if asked.get("stop_sequences"):
        chat["stop"] = asked["stop_sequences"]
    if asked.get("tools"):
        chat["tools"] = [_tool(tool) for tool in asked["tools"]]
    chat |= _tool_choice(asked.get("tool_choice"))
    chat |= _format(asked)
    return msgspec.json.encode(chat)


def _system(system: Any) -> Iterator[dict[str, Any]]:
    text = system if isinstance(system, str) else "\n\n".join(map(text_of, _each(system)))
    if text:
        yield {"role": "system", "content": text}


def _each(blocks: Any) -> list[Any]:
    return [[block] for block in blocks] if isinstance(blocks, list) else []


def _messages(messages: Any) -> Iterator[dict[str, Any]]:
    for message in messages if isinstance(messages, list) else ():
        role, content = message.get("role"), message.get("content")
        if isinstance(content, str):
            yield {"role": role, "content": content}
        elif role == "assistant":
            yield _of_assistant(content)
        elif role == "system":
            yield {"role": role, "content": text_of(content)}
        else:
            yield from _of_user(content)


def _of_assistant(blocks: Any) -> dict[str, Any]:
    """Thinking is left out: it is signed for whoever thought it."""
    text, calls = "", []
    for block in _blocks(blocks):
        kind = block.get("type")
        if kind == "text":
            text += text_of([block])
        elif kind == "tool_use":
            calls.append(_called(block))
        elif kind not in ("thinking", "redacted_thinking"):
            raise takes_no(f"a {kind!r} block in an assistant's message")
    message: dict[str, Any] = {"role": "assistant", "content": text or None}
    if calls:
        message["tool_calls"] = calls
    elif not text:
        message["content"] = ""
    return message


def _called(block: dict[str, Any]) -> dict[str, Any]:
    arguments = msgspec.json.encode(block.get("input") or {}).decode()
    function = {"name": block.get("name"), "arguments": arguments}
    return {"id": block.get("id"), "type": "function", "function": function}


def _of_user(blocks: Any) -> Iterator[dict[str, Any]]:
    """What tools found comes first, each as a message of its own: a chat takes them right after
    the call; pictures among that stand in the user's message, since a tool's holds text alone."""
    parts: list[dict[str, Any]] = []
    for block in _blocks(blocks):
        if block.get("type") == "tool_result":
            yield _found(block, parts)
        else:
            parts.append(_part(block))
    if parts:
        alone = parts[0]["text"] if len(parts) == 1 and parts[0]["type"] == "text" else None
        yield {"role": "user", "content": parts if alone is None else alone}


def _found(block: dict[str, Any], parts: list[dict[str, Any]]) -> dict[str, Any]:
    content = block.get("content")
    text = text_of(content)
    if isinstance(content, list):
        parts.extend(_part(one) for one in _blocks(content) if one.get("type") != "text")
    return {"role": "tool", "tool_call_id": block.get("tool_use_id"), "content": text}


def _part(block: dict[str, Any]) -> dict[str, Any]:
    kind, source = block.get("type"), block.get("source")
    source = source if isinstance(source, dict) else {}
    if kind == "text":
        return {"type": "text", "text": block.get("text", "")}
    if kind == "image" and (address := _address(source)):
        return {"type": "image_url", "image_url": {"url": address}}
    if kind == "document" and source.get("type") == "text":
        return {"type": "text", "text": source.get("data", "")}
    if kind == "document" and source.get("type") == "base64":
        name = block.get("title") or "document.pdf"
        return {"type": "file", "file": {"filename": name, "file_data": _address(source)}}
    raise takes_no(f"a {kind!r} block, its source {source.get('type')!r}")


def _address(source: dict[str, Any]) -> str | None:
    if source.get("type") == "base64":
        return f"data:{source.get('media_type')};base64,{source.get('data')}"
    url = source.get("url")
    return url if isinstance(url, str) else None


def _tool(tool: Any) -> dict[str, Any]:
    if not isinstance(tool, dict) or tool.get("type", "custom") != "custom":
        raise takes_no(f"the tool {tool.get('type') if isinstance(tool, dict) else tool!r}")
    function = {"name": tool.get("name"), "parameters": tool.get("input_schema")}
    if tool.get("description") is not None:
        function["description"] = tool["description"]
    if tool.get("strict") is not None:
        function["strict"] = tool["strict"]
    return {"type": "function", "function": function}


def _tool_choice(choice: Any) -> dict[str, Any]:
    if not isinstance(choice, dict):
        return {}
    kind = choice.get("type")
    chosen: Any = _CHOICES.get(str(kind))
    if kind == "tool":
        chosen = {"type": "function", "function": {"name": choice.get("name")}}
    fields: dict[str, Any] = {} if chosen is None else {"tool_choice": chosen}
    if choice.get("disable_parallel_tool_use"):
        fields["parallel_tool_calls"] = False
    return fields


def _format(asked: dict[str, Any]) -> dict[str, Any]:
    """A schema for the answer, where one is asked for."""
    config = asked.get("output_config")
    wanted = config.get("format") if isinstance(config, dict) else asked.get("output_format")
    if not isinstance(wanted, dict) or wanted.get("type") != "json_schema":
        return {}
    schema = {"name": "answer", "schema": wanted.get("schema"), "strict": True}
    return {"response_format": {"type": "json_schema", "json_schema": schema}}


def _blocks(blocks: Any) -> list[dict[str, Any]]:
    found = blocks if isinstance(blocks, list) else ()
    return [
        {"type": "text", "text": one} if isinstance(one, str) else one
        for one in found
        if isinstance(one, str | dict)
    ]
