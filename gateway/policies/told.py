"""How a change of the policy is told. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gateway.money.text import iso
from gateway.storage.policies.base import PolicyChange
from gateway.types import ApiError

MOST = 500


class Page:
    """What the history may be asked for. Raises ApiError 400."""

    def __init__(self, params: Mapping[str, str]) -> None:
        """``limit``; ``after`` is the ``next`` of the page before."""
        self.most = _number("limit", params.get("limit", "50"), MOST)
        self.before = _number("after", params["after"], 2**62) if "after" in params else None

    def as_json(self, found: Sequence[PolicyChange], in_force: str) -> dict[str, Any]:
        """``found`` has one more than the page, where there are more."""
        page = found[: self.most]
        more = len(found) > len(page)
        return {
            "data": [change_as_json(one) for one in page],
            "next": page[-1].number if more else None,
            "in_force": in_force,
        }


def change_as_json(change: PolicyChange) -> dict[str, Any]:
    """``files`` is the version that the gateway's files had then."""
    what = change.what
    return {
        "number": change.number,
        "at": iso(change.at, "milliseconds"),
        "act": what.act,
        "policy": what.version,
        "files": what.file,
        "actor": what.actor,
        "address": what.address,
    }


def _number(name: str, text: str, most: int) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 20 and 1 <= int(text) <= most):
        raise _bad(name, f"{name} is a whole number from 1 to {most}")
    return int(text)


def _bad(param: str, message: str) -> ApiError:
    return ApiError(400, "invalid_parameter", message, param=param)
