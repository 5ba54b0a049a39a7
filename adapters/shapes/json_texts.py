"""JSON that may be none, and what our decoder refuses and most others take. Pure."""

from __future__ import annotations

import codecs
import re
from typing import Any, TypeVar

import msgspec

from adapters.errors import BackendError, FailureClass, malformed
from adapters.types import Usage

T = TypeVar("T")

UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What decoding raises for bytes that are no JSON of a type: they may also be no UTF-8, or nest too
deeply."""
_ESCAPE = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|.)", re.S
)
_HALF = re.compile(rb"\\u[dD][89a-fA-F][0-9a-fA-F]{2}")
_NO_NUMBER = re.compile(rb'"(?:[^"\\]++|\\.)*+"|-?\b(?:NaN|Infinity)\b', re.S)


def mended(body: bytes) -> bytes:
    """The same JSON as our decoder takes it: without a byte order mark, with a replacement for
    each half of a character outside the Basic Multilingual Plane, which JavaScript writes where it
    cuts a text between the two, and with null for NaN and the infinities, which Python writes."""
    body = body.removeprefix(codecs.BOM_UTF8)
    if _HALF.search(body):
        body = _ESCAPE.sub(_without_half, body)
    if b"NaN" in body or b"Infinity" in body:
        body = _NO_NUMBER.sub(_as_null, body)
    return body


def _without_half(escape: re.Match[bytes]) -> bytes:
    return rb"\ufffd" if _HALF.fullmatch(escape[0]) else escape[0]


def _as_null(found: re.Match[bytes]) -> bytes:
    return found[0] if found[0].startswith(b'"') else b"null"


_anything = msgspec.json.Decoder(float_hook=float)
_ENDLESS = re.compile(
    rb'"(?:[^"\\]++|\\.)*+"|-?\b\d{300,}+(?:\.\d*+)?(?:[eE][-+]?\d++)?|-?\b\d++(?:\.\d++)?[eE]\+?\d{3,}+',
    re.S,
)
"""Text, or a number past the bounds of any reader."""


def read(
    body: bytes | msgspec.Raw,
    kind: type[T],
    message: str = "The backend's answer could not be read.",
    usage: Usage | None = None,
) -> T:
    """A platform's JSON as a value of a type; numbers past all bounds are null. Raises MALFORMED
    with ``message`` for anything else: ``usage`` is what the call used all the same, and the
    decoder's own words are the detail."""
    try:
        return _decoded(bytes(body), kind)
    except UNREADABLE as error:
        raise malformed(message, usage=usage, detail=str(error)) from None


def read_input(body: bytes | msgspec.Raw, kind: type[T], message: str) -> T:
    """A caller's JSON as a value of a type. Raises INVALID with ``message`` and the decoder's own
    words for anything else."""
    try:
        return msgspec.json.decode(body, type=kind)
    except UNREADABLE as error:
        raise BackendError(FailureClass.INVALID, f"{message}: {error}") from None


def read_if(body: bytes | str | msgspec.Raw, kind: type[T]) -> T | None:
    """The same as ``read`` for what may be of that type or not: None where it is not."""
    try:
        return _decoded(body.encode() if isinstance(body, str) else bytes(body), kind)
    except UNREADABLE:
        return None


def _decoded(body: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError:
        if (bounded := _bounded(body)) == body:
            raise
        return msgspec.json.decode(bounded, type=kind)


def value_in(body: bytes | str | msgspec.Raw) -> Any:
    """The value that JSON is, whatever numbers it holds: those past all bounds have no end, or are
    null. Raises one of ``UNREADABLE``."""
    body = body.encode() if isinstance(body, str) else bytes(body)
    try:
        return _anything.decode(body)
    except msgspec.ValidationError:  # of anything but numbers nothing is asked
        return _anything.decode(_bounded(body))


def value_of(body: bytes) -> Any:
    """The same, mended; None where it is none."""
    try:
        return value_in(mended(body))
    except UNREADABLE:
        return None


def _bounded(body: bytes) -> bytes:
    return _ENDLESS.sub(_as_null, body)
