"""The input of Replicate's language models as the body of a chat, and a chat's answer as theirs.
Pure.

Source: https://replicate.com/meta/meta-llama-3-70b-instruct/api/schema
"""

from __future__ import annotations

from typing import Any

import msgspec

from gateway.jobs.records import JobAnswer, output_of

_NAMES = {"max_new_tokens": "max_tokens", "stop_sequences": "stop"}
_TEXTS = frozenset(("prompt", "system_prompt"))


def is_prompt(value: Any) -> bool:
    """Whether it is such an input, and no body of a chat."""
    return isinstance(value, dict) and "prompt" in value and "messages" not in value


def chat_of(value: dict[str, Any]) -> dict[str, Any]:
    """The body of a chat, without ``model``; what else is there stays as it is."""
    messages = [{"role": "user", "content": value["prompt"]}]
    if value.get("system_prompt"):
        messages.insert(0, {"role": "system", "content": value["system_prompt"]})
    rest = {_NAMES.get(name, name): value[name] for name in value if name not in _TEXTS}
    if isinstance(rest.get("stop"), str):
        rest["stop"] = [one for one in rest["stop"].split(",") if one]
    return {"messages": messages, **rest}


class _Message(msgspec.Struct):
    content: str | None = None


class _Choice(msgspec.Struct):
    message: _Message


class _Chat(msgspec.Struct):
    choices: list[_Choice]


def texts_of(answer: JobAnswer) -> Any:
    """The answer's text, in a list of pieces; an answer that is no chat's as it is."""
    output = output_of(answer)
    if not isinstance(output, msgspec.Raw):
        return output
    try:
        read = msgspec.json.decode(output, type=_Chat)
    except msgspec.ValidationError:
        return output
    return [choice.message.content or "" for choice in read.choices[:1]]
