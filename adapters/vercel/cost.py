"""What a call cost at Vercel's AI Gateway, as its answers say. Pure.

Read in answers of the live service that others have recorded: ``usage.cost`` in US dollars,
``usage.is_byok``, ``usage.cost_details.upstream_inference_cost``, and the generation's name as
``id`` and as ``generationId``. Assumed: the look-up's answer has the same under ``data``, with
``total_cost``.

Source: https://vercel.com/docs/ai-gateway/observability-and-spend/usage, as of 2026-09.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from adapters.shapes.json_texts import read_if

_GENERATION = re.compile(r"gen_[0-9A-Za-z]{1,64}\Z")
_LARGEST = 10_000.0
"""US dollars; a figure above it is not believed of one call."""


class _Details(msgspec.Struct):
    upstream_inference_cost: Any = None


class _Money(msgspec.Struct):
    """``cost`` in an answer, ``total_cost`` in a look-up."""

    cost: Any = None
    total_cost: Any = None
    is_byok: Any = False
    upstream_inference_cost: Any = None
    cost_details: _Details | None = None


class _Answer(msgspec.Struct):
    id: Any = None
    generation: Any = msgspec.field(default=None, name="generationId")
    usage: _Money | None = None
    data: _Money | None = None


_UNKNOWN = _Answer()


class ReportedCost(msgspec.Struct, frozen=True):
    """What an answer says of its cost: the figure, or the name to ask for it by, or neither."""

    cost_nano: int | None = None
    generation: str | None = None


def cost_in(answer: bytes) -> ReportedCost:
    """Of a whole answer, of the event of a stream, or of a look-up."""
    found = read_if(answer, _Answer) or _UNKNOWN
    names = (name for name in (found.generation, found.id) if isinstance(name, str))
    generation = next((name for name in names if _GENERATION.match(name)), None)
    money = found.data or found.usage
    return ReportedCost(None if money is None else _nano(money), generation)


def _nano(money: _Money) -> int | None:
    """With a key of the team's own the platform charges its fee, and the provider the rest: both,
    or nobody knows."""
    cost = _dollars(money.total_cost if money.total_cost is not None else money.cost)
    if money.is_byok is True and cost is not None:
        upstream = money.upstream_inference_cost
        if upstream is None and money.cost_details is not None:
            upstream = money.cost_details.upstream_inference_cost
        theirs = _dollars(upstream)
        cost = None if theirs is None else cost + theirs
    return None if cost is None else round(cost * 1e9)


def _dollars(value: Any) -> float | None:
    """A number, or a number as text; nothing below zero, infinite or absurd."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        dollars = float(value)
    except (ValueError, OverflowError):
        return None
    return dollars if 0 <= dollars <= _LARGEST else None
