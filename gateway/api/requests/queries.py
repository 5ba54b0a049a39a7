"""The parameters of a request, each known and there once."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import parse_qsl

from gateway.api.requests.request import Scope
from gateway.types import ApiError

_MOST_DIGITS = 9


def query_of(scope: Scope, known: frozenset[str]) -> dict[str, str]:
    """Raises ApiError 400 for a parameter that is unknown, or there twice."""
    text = scope.get("query_string", b"").decode("latin-1")
    found: dict[str, str] = {}
    for name, value in parse_qsl(text, keep_blank_values=True):
        if name not in known or name in found:
            why = "there twice" if name in found else "unknown"
            takes = ", ".join(sorted(known)) or "no parameters"
            raise ApiError(
                400,
                "invalid_parameter",
                f"The parameter {name[:40]!r} is {why}; this takes {takes}.",
                param=name[:40],
            )
        found[name] = value.replace("\0", "\ufffd")  # as what is no UTF-8 is
    return found


def whole_number(text: str, least: int, most: int) -> int | None:
    """A number in at most 9 digits, within its bounds; None of any other text."""
    if not text.isdecimal() or len(text) > _MOST_DIGITS:
        return None
    return number if least <= (number := int(text)) <= most else None


def limit_of(given: Mapping[str, str], usual: int, most: int) -> int:
    """Raises ApiError 400."""
    text = given.get("limit")
    if text is None:
        return usual
    limit = whole_number(text, 1, most)
    if limit is None:
        raise ApiError(400, "invalid_parameter", f"`limit` is 1 to {most}.", param="limit")
    return limit


def oldest_first(given: Mapping[str, str]) -> bool:
    """Raises ApiError 400."""
    order = given.get("order", "desc")
    if order not in ("asc", "desc"):
        raise ApiError(400, "invalid_parameter", "`order` is asc or desc.", param="order")
    return order == "asc"
