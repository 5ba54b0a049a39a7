"""What the parts of a request are, where it is in Anthropic's words or in those of OpenAI's
responses: the same as of a chat, once they stand where a chat has them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from gateway.money.inputs import TEXT_ALONE, InputParts, parts_of

_NO_PARTS = frozenset(("tool_use", "redacted_thinking"))
_AT_ENGINE = ("web_search", "web_fetch", "code_execution")
"""How the types of Anthropic's tools begin that run at the engine."""


def parts_of_messages(messages: Iterable[Any], tools: Any) -> InputParts:
    """Of Anthropic's messages: pictures that tools have found among them."""
    found = [{"content": [*_parts(message.get("content"))]} for message in messages]
    given = tools if isinstance(tools, list) else ()
    engine = [tool for tool in given if isinstance(tool, dict) and _runs_there(tool)]
    return parts_of(found, engine)


def _runs_there(tool: dict[str, Any]) -> bool:
    return str(tool.get("type", "")).startswith(_AT_ENGINE)


def _parts(content: Any) -> Iterator[Any]:
    for part in content if isinstance(content, list) else ():
        kind = part.get("type") if isinstance(part, dict) else None
        if kind == "tool_result":
            yield from _parts(part.get("content"))
        elif kind == "document" and _is_text(part.get("source")):
            continue
        elif not isinstance(kind, str) or kind not in _NO_PARTS:
            yield part


def _is_text(source: Any) -> bool:
    return isinstance(source, dict) and source.get("type") == "text"


def parts_of_input(
    items: str | list[dict[str, Any]], tools: Any, *, kept: bool = False
) -> InputParts:
    """Of the input of a response: messages, and what tools gave back. ``kept``: it goes on from
    what the engine keeps, which is counted once however much is named."""
    if isinstance(items, str):
        found = parts_of((), tools) if tools else TEXT_ALONE
    else:
        named = [{"content": item.get("content") or item.get("output")} for item in items]
        found, kept = parts_of(named, tools), kept or any(map(_is_named, items))
    return InputParts((*found.counts, ("kept", 1)), found.data_bytes) if kept else found


def _is_named(item: dict[str, Any]) -> bool:
    """OpenAI's servers know an item by its id alone too, with no type."""
    return item.get("type") == "item_reference" or item.keys() == {"id"}
