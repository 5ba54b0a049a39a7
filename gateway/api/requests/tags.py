"""The tags that a request gives its call: below those of its key, within what the policy takes.

They say whose a call is within one key, and so in which counters and reports it stands. What a key
has itself no request can change: nobody writes a call into another one's account.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote, unquote_to_bytes

import msgspec

from adapters.shapes.json_texts import read_if
from adapters.types import Task
from gateway.api.requests.request import Header, RequestContext
from gateway.policy.model import RequestTags
from gateway.tag_values import OTHER, TagValues
from gateway.types import ApiError

HEADER = b"x-spillgate-tag"
_NAME = "X-Spillgate-Tag"
_MOST = 16
"""Tags that one request may give."""
_LONGEST = 128
"""Characters of a value."""
_PLAIN = " !\"#$&'()*+-./:;<=>?@[\\]^_`{|}~"
"""What stands in a header as it is, beside letters and digits."""


_NONE: Mapping[str, str] = {}


class _Fields(msgspec.Struct, frozen=True):
    """What OpenAI's bodies say of whom a call is for; of whatever type, as it is the backend's."""

    user: Any = None
    metadata: Any = None


def tags_of(
    taken: RequestTags,
    values: TagValues,
    context: RequestContext,
    body: bytes,
    task: Task,
    named: Mapping[str, str] = _NONE,
) -> dict[str, str] | None:
    """The tags that the policy takes of this request; None where it gives none of them. ``body``
    is JSON; ``named``: tags beside it. Raises ApiError 400 for a header that cannot be read, and
    for what is named and not taken."""
    given: dict[str, str] = {}
    if taken.reads_bodies and task != "infer" and body[:16].lstrip()[:1] == b"{":
        given |= {name: _shortened(text) for name, text in _of_body(taken, body)}
    header = context.headers.get(HEADER)
    if header is not None:
        given |= {name: text for name, text in _of_header(header).items() if name in taken.take}
    given |= _of_names(taken, named)
    if not given:
        return None
    principal = context.principal
    for name, value in given.items():
        if name not in principal.tags:
            given[name] = values.within(
                principal.key_id, name, value, taken.values, context.received_at
            )
    return {name: principal.tags.get(name, value) for name, value in given.items()}


def _of_names(taken: RequestTags, named: Mapping[str, str]) -> Mapping[str, str]:
    for name, value in named.items():
        if name not in taken.take or not value or not _is_value(value):
            names = ", ".join(taken.take) or "none"
            raise ApiError(
                400,
                "invalid_field",
                f"`tags` gives {name[:_LONGEST]!r}: the policy takes {names}, each of 1 to "
                f"{_LONGEST} printable characters.",
                param="tags",
            )
    return named


def told(tags: Mapping[str, str]) -> Header:
    """The header by which an answer says what was taken."""
    items = [f"{name}={quote(value, safe=_PLAIN)}" for name, value in tags.items()]
    return HEADER, ", ".join(items).encode()


def _of_body(taken: RequestTags, body: bytes) -> Iterator[tuple[str, str]]:
    fields = read_if(body, _Fields) or _Fields()
    if taken.user_as is not None and isinstance(fields.user, str) and fields.user:
        yield taken.user_as, fields.user
    if taken.metadata and isinstance(fields.metadata, dict):
        for name in taken.take:
            value = fields.metadata.get(name)
            if isinstance(value, str) and value:
                yield name, value


def _shortened(value: str) -> str:
    """A body's text is its backend's, and no reason to refuse the call."""
    return value if _is_value(value) else OTHER


def _is_value(value: str) -> bool:
    return len(value) <= _LONGEST and value.isprintable()


def _of_header(header: bytes) -> dict[str, str]:
    """``name=value, name=value``: a comma within a value is %2C."""
    found: dict[str, str] = {}
    items = [item.strip() for item in header.split(b",") if item.strip()]
    if len(items) > _MOST:
        raise _invalid(f"gives more than {_MOST} tags")
    for item in items:
        name, _, text = item.partition(b"=")
        name_text = name.strip().decode("latin-1")
        if name_text in found:
            raise _invalid(f"gives the tag {name_text[:_LONGEST]!r} twice")
        found[name_text] = _value(name_text, text.strip())
    return found


def _value(name: str, text: bytes) -> str:
    try:
        value = unquote_to_bytes(text).decode()
    except UnicodeDecodeError:
        raise _invalid(f"has a value of {name[:_LONGEST]!r} that is no UTF-8") from None
    if not (name and value and _is_value(value)):
        raise _invalid(f"must be name=value, each value of 1 to {_LONGEST} printable characters")
    return value


def _invalid(what: str) -> ApiError:
    return ApiError(400, "invalid_header", f"{_NAME} {what}.", param=_NAME)
