"""JSON that our decoder refuses and most others take. Pure."""

from __future__ import annotations

import re

from adapters.whole_events import BOM

_ESCAPE = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|.)", re.S
)
_HALF = re.compile(rb"\\u[dD][89a-fA-F][0-9a-fA-F]{2}")


def mended(body: bytes) -> bytes:
    """The same JSON as our decoder takes it: without a byte order mark, and with a replacement for
    each half of a character outside the Basic Multilingual Plane, which JavaScript writes where it
    cuts a text between the two."""
    body = body.removeprefix(BOM)
    return _ESCAPE.sub(_without_half, body) if _HALF.search(body) else body


def _without_half(escape: re.Match[bytes]) -> bytes:
    return rb"\ufffd" if _HALF.fullmatch(escape[0]) else escape[0]
