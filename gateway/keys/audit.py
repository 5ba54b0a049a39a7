"""What the audit log may be asked for, and how an entry is told. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from gateway.money.text import iso
from gateway.storage.audit import AuditEntry, AuditQuery
from gateway.types import ApiError

MOST = 1_000
_NAMES = ("actor", "act", "target")


def parse_audit_query(params: Mapping[str, str]) -> AuditQuery:
    """``actor``, ``act`` and ``target`` as entries have them; ``limit``; ``after`` is the ``next``
    of the page before. Raises ApiError 400."""
    for name in params:
        if name not in (*_NAMES, "limit", "after"):
            allowed = ", ".join((*_NAMES, "limit", "after"))
            raise _bad(name, f"{name!r} cannot be asked for; allowed: {allowed}")
    return AuditQuery(
        before=_number("after", params["after"], 2**62) if "after" in params else None,
        most=_number("limit", params.get("limit", "50"), MOST),
        **{name: params[name] for name in _NAMES if name in params},
    )


def _number(name: str, text: str, most: int) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 20 and 1 <= int(text) <= most):
        raise _bad(name, f"{name} is a whole number from 1 to {most}")
    return int(text)


def _bad(param: str, message: str) -> ApiError:
    return ApiError(400, "invalid_parameter", message, param=param)


def one_more(query: AuditQuery) -> AuditQuery:
    """What to ask for, so that one knows whether there is a next page."""
    return msgspec.structs.replace(query, most=query.most + 1)


def audit_json(entries: Sequence[AuditEntry], query: AuditQuery) -> dict[str, Any]:
    """``entries`` are those of ``one_more``; ``next`` is None on the last page."""
    page = entries[: query.most]
    more = len(entries) > len(page)
    return {"data": [_json(entry) for entry in page], "next": page[-1].number if more else None}


def acts_of(entries: Sequence[AuditEntry]) -> list[AuditEntry]:
    """One entry of each act, newest first: that of its end, or of its beginning where it has not
    ended. ``entries`` are newest first."""
    ends: Counter[tuple[str, ...]] = Counter()
    found = []
    for entry in entries:
        act = entry.act
        who_what = (act.actor, act.address, act.act, act.target)
        if act.outcome != "begun":
            ends[who_what] += 1
        elif ends[who_what]:
            ends[who_what] -= 1
            continue
        found.append(entry)
    return found


def _json(entry: AuditEntry) -> dict[str, Any]:
    told = msgspec.structs.asdict(entry.act)
    return {"number": entry.number, **told, "at": iso(entry.act.at, "milliseconds")}
