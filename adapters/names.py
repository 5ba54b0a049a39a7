"""Names that a YAML setting may be: those that a platform gave, and those that stand in a URL."""

from __future__ import annotations

import re
from typing import Annotated, Any

from adapters.settings import Scalar

_PART = re.compile(r"(?!\.\.?\Z)[A-Za-z0-9._~-]+\Z")


def parse_name(value: Any) -> str:
    """'meta/llama-3' -> the same. Raises ValueError for what no platform has named anything."""
    text = str(value)
    if not text.strip():
        raise ValueError("a name is not empty")
    if text != text.strip() or not text.isprintable():
        raise ValueError("a name has no blanks around it, and no line break or control character")
    return text


def parse_path_name(value: Any) -> str:
    """'prod-eu' -> the same, one step of a URL's path. Raises ValueError."""
    text = str(value)
    if _PART.match(text) is None:
        raise ValueError(f"{text!r} cannot stand in a URL: letters, digits, and . _ ~ - can")
    return text


def parse_owned_name(value: Any) -> str:
    """'owner/name' -> the same, two steps of a URL's path. Raises ValueError."""
    text = str(value)
    parts = text.split("/")
    if len(parts) != 2 or not all(map(_PART.match, parts)):
        raise ValueError(f"{text!r} is not owner/name, both of letters, digits, and . _ ~ -")
    return text


Name = Annotated[
    str, Scalar(parse=parse_name, expects="a name, on one line", pattern=r"^\S([^\r\n]*\S)?$")
]
"""Any, as it is told in a body."""

PathName = Annotated[
    str,
    Scalar(
        parse=parse_path_name,
        expects="a name such as prod-eu",
        pattern=r"^[A-Za-z0-9._~-]+$",
    ),
]
"""One step of a URL's path."""

OwnedName = Annotated[
    str,
    Scalar(
        parse=parse_owned_name,
        expects="owner/name",
        pattern=r"^[A-Za-z0-9._~-]+/[A-Za-z0-9._~-]+$",
    ),
]
"""Two steps of a URL's path."""
