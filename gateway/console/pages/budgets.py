"""The limits of money in a policy: whose each is, where it stands, and what raises it for now."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import yaml

from gateway.policy.syntax.scalars import parse_instant


class Budget(msgspec.Struct, frozen=True):
    """One of them; its amount and what raises it are as the policy writes them."""

    whose: str
    place: str
    """The names that lead to it."""
    amount: str
    raised: str
    """Empty while nothing raises it."""


_Scope = tuple[str, tuple[str, ...], Any]
"""(Whose limits, the names that lead to them, they themselves)."""
_NAMED = {
    "users": "the user {}",
    "keys": "the key {}",
    "models": "calls of the model {}",
    "backends": "the backend {}",
}


def budgets_of(document: str, now_at: float) -> list[Budget]:
    """Those that have one window, of every scope that the policy names."""
    # Texts as they stand: a day is no date, and an amount no number.
    policy = yaml.load(document, Loader=yaml.BaseLoader) or {}  # noqa: S506 # makes texts alone
    return [
        Budget(whose, "|".join((*place, "spend")), limits["spend"], _raised(limits, now_at))
        for whose, place, limits in _scopes(policy)
        if isinstance(limits, dict) and isinstance(limits.get("spend"), str)
    ]


def _scopes(policy: dict[str, Any]) -> Iterator[_Scope]:
    limits = policy.get("limits") or {}
    yield "the gateway", ("limits",), limits
    for name, plan in (policy.get("plans") or {}).items():
        yield f"each user of plan {name}", ("plans", name), plan
        yield f"each key of plan {name}", ("plans", name, "per_key"), plan.get("per_key")
        yield f"all of plan {name} together", ("plans", name, "shared"), plan.get("shared")
    for section, whose in _NAMED.items():
        for name, inner in (limits.get(section) or {}).items():
            yield whose.format(name), ("limits", section, name), inner
    for tag, values in (limits.get("tags") or {}).items():
        for value, inner in values.items():
            named = f"each other {tag}" if value == "*" else f"{tag} {value}"
            yield named, ("limits", "tags", tag, value), inner
    yield "pings and spares", ("limits", "warm_pool"), limits.get("warm_pool")


def _raised(limits: dict[str, Any], now_at: float) -> str:
    for more in limits.get("raises") or ():
        began = "start" not in more or parse_instant(more["start"]) <= now_at
        if "spend" in more and began and now_at < parse_instant(more["end"]):
            return f"{_listed(more['spend'])} until {more['end']}"
    return ""


def _listed(amount: Any) -> str:
    return ", ".join(amount) if isinstance(amount, list) else str(amount)
