"""The body of a request: read within its bounds, without its codings, as text that is UTF-8 and
JSON that says each thing once."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

import msgspec

from gateway.api.requests.request import Receive, RequestContext
from gateway.calls.slow_clients import Upload
from gateway.service import Gateway
from gateway.types import ApiError
from local_runtime.http.content_codings import (
    BadCoding,
    TooMuch,
    UnknownCoding,
    decode_body,
    named_codings,
)


class ClientGone(Exception):
    """The client closed the connection before its request was complete."""


async def read_body(gateway: Gateway, context: RequestContext, receive: Receive) -> bytes:
    """The whole body, without its content codings.

    Raises ApiError 413 for one that is larger than the policy allows, 415 for a coding that is not
    read here, 400 for a body that is not what its coding says, 429 and 503 where there is no room
    for it beside what else waits, and ClientGone when it breaks off.
    """
    headers, limit = context.headers, gateway.active.policy.server.max_body
    declared = headers.get(b"content-length")
    if declared is not None and declared.isdigit() and int(declared) > limit:
        raise too_large(limit)
    coding = headers.get(b"content-encoding")
    codings = () if coding is None else _codings(coding)
    message = await receive()
    if message["type"] == "http.disconnect":
        raise ClientGone
    body: bytes = message.get("body", b"")
    more = message.get("more_body", False)
    if not more and not codings:
        if len(body) > limit:
            raise too_large(limit)
        return body
    template = gateway.active.template(context.principal, now_at=context.received_at)
    with gateway.dispatcher.slow_clients.upload(template) as upload:
        body = await _whole(body, more, receive, limit, upload)
        return await _decoded(body, codings, limit, upload) if codings else body


async def _whole(begin: bytes, more: bool, receive: Receive, limit: int, upload: Upload) -> bytes:
    parts, size = [begin], len(begin)
    while True:
        if size > limit:
            raise too_large(limit)
        await upload.grow(len(parts[-1]))
        if not more:
            return b"".join(parts)
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        more = message.get("more_body", False)


def too_large(limit: int) -> ApiError:
    """The 413 of a body."""
    return ApiError(
        413,
        "body_too_large",
        f"The request body is larger than the {limit} bytes that this gateway takes.",
        headers={"connection": "close"},
    )


# --- content codings -----------------------------------------------------------------------------


def _codings(header: bytes) -> tuple[bytes, ...]:
    try:
        return named_codings(header)
    except UnknownCoding as unknown:
        raise ApiError(
            415,
            "unsupported_content_encoding",
            f"A body in the content encoding {str(unknown)[:40]!r} is not read here; send it in "
            "gzip or deflate, or plain.",
            param="Content-Encoding",
            headers={"Accept-Encoding": "gzip, deflate", "connection": "close"},
        ) from None


async def _decoded(body: bytes, codings: tuple[bytes, ...], limit: int, upload: Upload) -> bytes:
    try:
        return await decode_body(body, codings, limit, upload.grow)
    except TooMuch:
        raise too_large(limit) from None
    except BadCoding as error:
        raise ApiError(
            400,
            "invalid_body",
            f"The request body is not what its Content-Encoding says: {error}.",
            param="Content-Encoding",
        ) from None


# --- text and JSON -------------------------------------------------------------------------------


def check_utf8(body: bytes) -> None:
    """Raises ApiError 400 with the place of the first byte that is no UTF-8."""
    if body.isascii():
        return
    try:
        body.decode()
    except UnicodeDecodeError as error:
        raise ApiError(
            400,
            "invalid_json",
            f"The request body is not UTF-8: byte {error.start} is 0x{body[error.start]:02x}.",
        ) from None


def parse_json(body: bytes) -> Any:
    """Raises ApiError 400 with the place of the fault."""
    check_utf8(body)
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError) as error:
        raise malformed(error, body) from None


def parse_strict_json(body: bytes) -> Any:
    """As ``parse_json``, and no object may say a thing twice. For the few requests that change
    something: it is ten times slower."""
    value = parse_json(body)
    try:
        json.loads(body, object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:  # such as a number of 5,000 digits
        raise malformed(error, body) from None
    return value


def malformed(error: Exception, body: bytes) -> ApiError:
    """The 400 for a body that is no JSON; the error names the place."""
    why: object = "it nests too deeply" if isinstance(error, RecursionError) else error
    escapes = _ESCAPE.finditer(body, 0, _LOOKED_AT)
    if half := next((one for one in escapes if one[1]), None):
        why = (
            f"byte {half.start()} begins {half[1].decode()}, which is half of a character: send "
            "both halves of the surrogate pair, or \\ufffd where one was cut off"
        )
    return ApiError(400, "invalid_json", f"The request body is not valid JSON: {why}.")


_ESCAPE = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
    rb"|(\\u[dD][89a-fA-F][0-9a-fA-F]{2})|\\.",
    re.S,
)
"""One escape, or both of a pair; the group is one surrogate without the other (RFC 8259, 8.2)."""
_LOOKED_AT = 256 * 1024
"""Bytes of a body that is no JSON in which one is looked for: it takes some 60 ns a byte."""


# --- keys that decide ----------------------------------------------------------------------------


class _Key(str):
    """A key as it stood: one that stands there twice is there twice."""

    __slots__ = ()
    __hash__ = object.__hash__
    __eq__ = object.__eq__


_LONGEST_SEEN, _MOST_SEEN = 512, 1024

_keys = msgspec.json.Decoder(dict[_Key, msgspec.Raw], dec_hook=str.__new__).decode
"""Its own methods are C, and so is what makes a key: this runs for each call."""


class DecidingKeys:
    """The keys of a body by which the gateway decides, and so may be there once alone.

    Some readers of JSON take the first of two, some the last, and some do not look at the case
    (https://pkg.go.dev/encoding/json#Unmarshal): what the gateway admits and what the backend
    runs must not be two requests.
    """

    def __init__(self, names: frozenset[str]) -> None:
        self._names = names
        self._seen: set[str] = set()
        """Keys that were in order, as they stood: the bodies of one client are alike in them. Two
        lists of keys that are joined to one text are in order both, or neither."""

    def check(self, body: bytes) -> None:
        """Raises ApiError 400 for a key that stands there twice, or in another case. ``body`` is
        a JSON object."""
        keys = _keys(body)
        joined = "\n".join(keys)
        if joined in self._seen:
            return
        names = joined.split("\n")
        if len(set(names)) == len(names) and joined.casefold() == joined:
            self._remember(joined)
        else:
            self._look_closely(keys)

    def _remember(self, joined: str) -> None:
        if len(joined) <= _LONGEST_SEEN:
            if len(self._seen) >= _MOST_SEEN:
                self._seen.clear()
            self._seen.add(joined)

    def _look_closely(self, keys: Iterable[str]) -> None:
        seen = set()
        for key in map(str, keys):
            name = key.casefold()
            if name in seen or (name in self._names and name != key):
                raise _ambiguous(key, name)
            if name in self._names:
                seen.add(name)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    names = [name for name, _ in pairs]
    twice = next(name for name in names if names.count(name) > 1)
    raise _ambiguous(twice, twice)


def _ambiguous(key: str, name: str) -> ApiError:
    how = "twice" if key == name else f"as {key!r}"
    return ApiError(
        400, "ambiguous_field", f"{name!r} stands in the request {how}; write it once.", param=name
    )
