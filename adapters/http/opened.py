"""What the body of a streamed call is, by its first bytes: servers label their streams as they
like, and some answer whole. Only what the caller can be given as a stream is taken for one."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Sequence
from typing import Any

import msgspec

from adapters.http.answers import answer_in, check_output
from adapters.http.response import Body
from adapters.http.sse import DONE, frame
from adapters.http.stated_usage import told
from adapters.settings import Secret
from adapters.shapes.json_texts import read_if, value_in
from adapters.types import Chunk, Task, Usage
from adapters.whole_events import BOM

_FIELD = re.compile(rb"(data|event|id|retry)?\s*:")
_FIELDS = (b"data:", b"event:", b"retry:", b"id:")
_ANY_FIELD = re.compile(rb"([A-Za-z][\w-]{0,63})?[ \t]*:")
_ANY_NAME = re.compile(rb"([A-Za-z][\w-]{0,63})?[ \t]*")


def are_events(start: bytes, *, of_protocol: bool = True) -> bool | None:
    """Whether a body that begins so is an event stream; None while that cannot be told. Where it
    may be any text, being of nobody's protocol, only the fields that every reader knows tell."""
    if BOM.startswith(start):
        return None
    text = start.removeprefix(BOM).lstrip()
    if (_ANY_FIELD if of_protocol else _FIELD).match(text):
        return True
    if of_protocol:
        return None if _ANY_NAME.fullmatch(text) else False
    return None if any(field.startswith(text) for field in _FIELDS) else False


async def start_of(body: Body, *, of_protocol: bool = True) -> bytes:
    """As much of a body as tells what it is, but for the blank lines by which some servers keep a
    connection alive until they begin. Raises as its ``read`` does, and lets go of it."""
    start = b""
    try:
        while piece := await body.read():
            start += piece
            if are_events(start, of_protocol=of_protocol) is not None:
                break
            if not BOM.startswith(start):
                start = start.removeprefix(BOM).lstrip()
    except BaseException:
        body.close()
        raise
    return start


async def rest_of(body: Body, start: bytes, limit: int) -> bytes:
    """All of a body that is no stream, of which ``start`` has been read."""
    return start + await body.read_all(limit)


async def each(chunks: Sequence[Chunk]) -> AsyncIterator[Chunk]:
    """The stream of an answer that came whole."""
    for chunk in chunks:
        yield chunk


def as_chunks(
    answer: bytes, task: Task, usage: Usage, secrets: Sequence[Secret] = ()
) -> list[Chunk]:
    """A whole answer as the stream that was asked for. Raises what an error inside it means, and
    MALFORMED for what is no answer."""
    answer, used = answer_in(answer, task, usage, secrets)
    fields = msgspec.json.decode(answer, type=dict[str, msgspec.Raw])
    stated = fields.pop("usage", None)
    if task == "chat":
        fields["object"] = msgspec.Raw(b'"chat.completion.chunk"')
        fields["choices"] = _in_pieces(fields["choices"])
    chunks = [Chunk(frame(msgspec.json.encode(fields)), tokens=used.text_tokens)]
    if stated is not None and told(used):
        last = fields | {"choices": msgspec.Raw(b"[]"), "usage": stated}
        chunks.append(Chunk(frame(msgspec.json.encode(last)), "usage", used))
    return [*chunks, Chunk(DONE, "done", used)]


def as_one_event(output: bytes, content_type: str, usage: Usage) -> list[Chunk]:
    """A handler's whole answer as the only event of a stream. Raises MALFORMED for what is none."""
    data = check_output(output, content_type, usage).strip()
    if read_if(data, msgspec.Raw) is None:
        data = msgspec.json.encode(data.decode("utf-8", "replace"))
    else:
        data = msgspec.json.format(data, indent=-1)
    return [Chunk(frame(data), "data", usage)]


def _in_pieces(choices: msgspec.Raw) -> msgspec.Raw:
    """The choices of a whole chat answer with a delta instead of a message."""
    given = value_in(choices)
    return msgspec.Raw(msgspec.json.encode([_in_piece(choice) for choice in given]))


def _in_piece(choice: dict[str, Any]) -> dict[str, Any]:
    message = choice.get("message")
    if not isinstance(message, dict):
        return choice
    delta = dict(message)
    if isinstance(calls := message.get("tool_calls"), list):
        delta["tool_calls"] = [
            {"index": number, **call} if isinstance(call, dict) else call
            for number, call in enumerate(calls)
        ]
    others = {name: value for name, value in choice.items() if name != "message"}
    return {**others, "delta": delta, "finish_reason": choice.get("finish_reason")}
