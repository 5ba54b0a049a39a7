"""A handler's bytes as JSON values, for a platform whose answers are JSON and nothing else.

Text stays text. Other bytes are a data URL with their Content-Type (RFC 2397), which is also how
Cog answers with files: ``data:image/png;base64,iVBORw0...``.
"""

from __future__ import annotations

import base64
import codecs
from typing import Any

from local_runtime.json_bodies import NotJson, decoded

Headers = tuple[tuple[str, str], ...]
JSON = "application/json"


def value_of(data: bytes, headers: Headers = ()) -> Any:
    """A whole body. JSON unless its Content-Type says otherwise; None where it is empty."""
    kind = type_of(headers)
    if not data:
        return None
    if kind.startswith("text/"):
        return data.decode(errors="replace")
    if not kind.startswith(JSON):
        return data_url(data, kind)
    try:
        return decoded(data)
    except NotJson:
        return _text_or_bytes(data)


class Pieces:
    """A body in pieces: text as it becomes whole characters, other pieces each by itself."""

    def __init__(self, headers: Headers) -> None:
        self._kind = type_of(headers)
        is_text = self._kind.startswith(("text/", JSON))
        self._text = codecs.getincrementaldecoder("utf-8")("replace") if is_text else None

    def value_of(self, piece: bytes) -> str:
        """Empty while there is half a character alone."""
        return data_url(piece, self._kind) if self._text is None else self._text.decode(piece)


def data_url(data: bytes, kind: str) -> str:
    """The bytes, of the Content-Type ``kind``, as a URL (RFC 2397)."""
    return f"data:{kind.replace(' ', '')};base64,{base64.b64encode(data).decode()}"


def type_of(headers: Headers) -> str:
    """The Content-Type in small letters, JSON where there is none."""
    named = (value for name, value in headers if name.lower() == "content-type")
    return next(named, JSON).strip().lower()


def _text_or_bytes(data: bytes) -> str:
    """What calls itself JSON, and is none."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data_url(data, "application/octet-stream")
