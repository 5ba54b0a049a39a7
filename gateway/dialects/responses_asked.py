"""A request to OpenAI's /v1/responses as one for a chat completion. Pure.

Shapes: https://platform.openai.com/docs/api-reference/responses/create, as of 2026-11. What a chat
cannot say raises UNSUPPORTED, so that a backend that speaks of responses itself may still be asked;
what only asks for more to be told (``include``, ``store``, ``truncation``) is left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from adapters.errors import BackendError, FailureClass, takes_no
from gateway.dialects.streams import object_of, text_of

_SAME = (
    "frequency_penalty", "logit_bias", "model", "parallel_tool_calls", "presence_penalty",
    "seed", "service_tier", "stop", "stream", "temperature", "top_k", "top_p", "user",
)  # fmt: skip
_KEPT = ("previous_response_id", "conversation", "prompt", "background")
"""What only who keeps responses can do."""
_LOGPROBS = "message.output_text.logprobs"
_TEXTS = frozenset(("input_text", "output_text", "text", "refusal", "summary_text"))


def chat_of_response(body: bytes, bound: str = "max_tokens") -> bytes:
    """The body of the chat completion, its ``bound`` the field that bounds the answer. Raises
    UNSUPPORTED for what it cannot say, and INVALID for what is not in the shape of a response's
    request."""
    asked = object_of(body)
    for name in _KEPT:
        if asked.get(name):
            raise takes_no(f"responses with {name!r}, for it keeps none: send the whole input")
    chat = {name: asked[name] for name in _SAME if asked.get(name) is not None}
    chat["messages"] = [*_instructions(asked.get("instructions")), *_messages(asked.get("input"))]
    if asked.get("max_output_tokens") is not None:
        chat[bound] = asked["max_output_tokens"]
    if asked.get("tools"):
        chat["tools"] = [_tool(tool) for tool in asked["tools"]]
    chat |= _tool_choice(asked.get("tool_choice"))
    chat |= _format(asked.get("text"))
    chat |= _logprobs(asked)
    if effort := _effort(asked.get("reasoning")):
        chat["reasoning_effort"] = effort
    return msgspec.json.encode(chat)


def _effort(reasoning: Any) -> Any:
    if reasoning is None:
        return None
    if not isinstance(reasoning, dict):
        said = '`reasoning` is an object, such as {"effort": "high"}.'
        raise BackendError(FailureClass.INVALID, said)
    return reasoning.get("effort")


def _logprobs(asked: dict[str, Any]) -> dict[str, Any]:
    """Of the answer's tokens, where they are to be told."""
    if _LOGPROBS not in (asked.get("include") or ()):
        return {}
    most = asked.get("top_logprobs")
    return {"logprobs": True} if most is None else {"logprobs": True, "top_logprobs": most}


def _instructions(text: Any) -> Iterator[dict[str, Any]]:
    if text:
        yield {"role": "system", "content": text_of(text)}


def _messages(items: Any) -> list[dict[str, Any]]:
    """What an assistant said and which tools it called is one message of it, as a chat has it; and
    pictures that tools gave back follow in a user's message, since a tool's holds text alone."""
    if isinstance(items, str):
        return [{"role": "user", "content": items}]
    found: list[dict[str, Any]] = []
    shown: list[dict[str, Any]] = []
    for item in items if isinstance(items, list) else ():
        message = _message(item if isinstance(item, dict) else {}, shown)
        if message is None:
            continue
        if shown and message["role"] != "tool":
            found.append({"role": "user", "content": shown})
            shown = []
        before = found[-1] if found else {}
        if message["role"] == before.get("role") == "assistant" and _calls_tools(before, message):
            _join(before, message)
        else:
            found.append(message)
    return [*found, {"role": "user", "content": shown}] if shown else found


def _calls_tools(*messages: dict[str, Any]) -> bool:
    return any("tool_calls" in message for message in messages)


def _join(before: dict[str, Any], message: dict[str, Any]) -> None:
    """What tools gave back must follow right after the message that called them."""
    if calls := message.get("tool_calls"):
        before["tool_calls"] = before.get("tool_calls", []) + calls
    if message["content"]:
        before["content"] = f"{before['content'] or ''}{message['content']}"


def _message(item: dict[str, Any], shown: list[dict[str, Any]]) -> dict[str, Any] | None:
    kind = item.get("type", "message")
    if kind == "message":
        role = "system" if item.get("role") == "developer" else item.get("role")
        return {"role": role, "content": _content(role, item.get("content"))}
    if kind == "function_call":
        function = {"name": item.get("name"), "arguments": item.get("arguments")}
        called = {"id": item.get("call_id"), "type": "function", "function": function}
        return {"role": "assistant", "content": None, "tool_calls": [called]}
    if kind == "function_call_output":
        texts, others = _given_back(item.get("output"))
        shown.extend(others)
        return {"role": "tool", "tool_call_id": item.get("call_id"), "content": texts}
    if kind == "reasoning":
        return None
    raise takes_no(f"an input item of type {kind!r}")


def _given_back(output: Any) -> tuple[str, list[dict[str, Any]]]:
    """What a tool gave back: its text, and parts of other kinds."""
    if not isinstance(output, list):
        return text_of(output), []
    parts = [_part(part) for part in output if isinstance(part, dict)]
    text = "".join(part["text"] for part in parts if part["type"] == "text")
    return text, [part for part in parts if part["type"] != "text"]


def _content(role: Any, content: Any) -> Any:
    if isinstance(content, str):
        return content
    parts = [_part(part) for part in content or () if isinstance(part, dict)]
    others = [part["type"] for part in parts if part["type"] != "text"]
    if not others:
        return "".join(part["text"] for part in parts)
    if role != "user":
        raise takes_no(f"{others[0]!r} in a message of the role {role!r}")
    return parts


def _part(part: dict[str, Any]) -> dict[str, Any]:
    kind = part.get("type")
    if kind in _TEXTS:
        return {"type": "text", "text": part.get("text") or part.get("refusal") or ""}
    if kind == "input_image" and part.get("image_url"):
        image = {"url": part["image_url"]}
        if part.get("detail"):
            image["detail"] = part["detail"]
        return {"type": "image_url", "image_url": image}
    if kind == "input_file" and part.get("file_data"):
        file = {"filename": part.get("filename"), "file_data": part["file_data"]}
        return {"type": "file", "file": file}
    if kind == "input_audio":
        return {"type": "input_audio", "input_audio": part.get("input_audio")}
    raise takes_no(f"a part of type {kind!r} without its data")


def _tool(tool: Any) -> dict[str, Any]:
    if not isinstance(tool, dict) or tool.get("type") != "function":
        raise takes_no(f"the tool {tool.get('type') if isinstance(tool, dict) else tool!r}")
    names = ("name", "description", "parameters", "strict")
    function = {name: tool[name] for name in names if tool.get(name) is not None}
    return {"type": "function", "function": function}


def _tool_choice(choice: Any) -> dict[str, Any]:
    if isinstance(choice, str):
        return {"tool_choice": choice}
    if not isinstance(choice, dict):
        return {}
    if choice.get("type") != "function":
        raise takes_no(f"a tool_choice of type {choice.get('type')!r}")
    return {"tool_choice": {"type": "function", "function": {"name": choice.get("name")}}}


def _format(text: Any) -> dict[str, Any]:
    if not isinstance(text, dict):
        return {}
    verbosity = text.get("verbosity")
    return {**_shape(text.get("format")), **({"verbosity": verbosity} if verbosity else {})}


def _shape(wanted: Any) -> dict[str, Any]:
    """A shape for the answer, where one is asked for."""
    if not isinstance(wanted, dict) or wanted.get("type", "text") == "text":
        return {}
    if wanted.get("type") != "json_schema":
        return {"response_format": {"type": wanted.get("type")}}
    names = ("name", "description", "schema", "strict")
    schema = {name: wanted[name] for name in names if wanted.get(name) is not None}
    return {"response_format": {"type": "json_schema", "json_schema": schema}}
