"""A bound on an answer, put into a call that has none. Pure."""

from __future__ import annotations

import msgspec

from adapters.types import Call, Task

_FIELDS = ("max_tokens", "max_completion_tokens", "max_output_tokens")
_OWN: dict[Task, str] = {"messages": "max_tokens", "responses": "max_output_tokens"}
"""In the words of these there is one alone."""
_decode = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def bounded(call: Call, field: str, tokens: int) -> Call:
    """The call with ``field`` in its body, and no other bound; every other field keeps its bytes.
    The same call where ``field`` is "none", or its body is no object."""
    if field == "none":
        return call
    field, body = _OWN.get(call.task, field), call.body
    # It may hold such a field without a bound, as null or -1, and names may be written in escapes.
    takes_more = b'"max_' in body or b"\\u" in body
    body = _rewritten(body, field, tokens) if takes_more else _spliced(body, field, tokens)
    return msgspec.structs.replace(call, body=body)


def _rewritten(body: bytes, field: str, tokens: int) -> bytes:
    fields = _decode(body)
    for name in _FIELDS:
        fields.pop(name, None)
    fields[field] = msgspec.Raw(b"%d" % tokens)
    return msgspec.json.encode(fields)


def _spliced(body: bytes, field: str, tokens: int) -> bytes:
    """What is sent of tasks in OpenAI's shapes is an object with a field at least."""
    end = body.rindex(b"}")
    return b'%b,"%b":%d%b' % (body[:end], field.encode(), tokens, body[end:])
