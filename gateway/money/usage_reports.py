"""``/usage``: what was asked, checked and narrowed to what the key may see, and how it is shown.

Pure. Money stays an integer of nano-dollars until it is written down.
"""

from __future__ import annotations

import csv
import datetime
import io
import re
from collections.abc import Iterable, Mapping
from operator import add
from typing import Any, get_args

import msgspec

from gateway.money.text import iso_or_none, safe_cell, usd
from gateway.storage.base import Outcome, ReportRefused, RowKind
from gateway.storage.calendar import hour_of_week, instant_of, interval_of, zone_of
from gateway.storage.durations import BUCKETS, percentile_s
from gateway.storage.queries import Dimension, UsageQuery, UsageReport, UsageRow
from gateway.types import MICRO, NANO, ApiError, Principal

DIMENSIONS: tuple[str, ...] = get_args(Dimension)
_TAG = re.compile(r"tag:[\w.:/-]{1,64}\Z")
_RELATIVE = re.compile(r"(\d{1,6})(m|h|d|w)\Z")
_SECONDS = {"m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
_MAX_GROUPS = 6
_MAX_VALUE = 256
_MAX_LIMIT = 50_000
_OTHER_PARAMS = ("from", "to", "group_by", "limit", "tz", "percentiles")
_VALUES: dict[str, tuple[str, ...]] = {
    "outcome": tuple(name for name in get_args(Outcome) if name != "open"),
    "kind": get_args(RowKind),
}
_COUNTS = ("calls", "errors", "refused", "cold_starts", "input_tokens", "output_tokens")
_TIMES = ("queue", "cold", "exec", "gpu")
_COSTS = ("cost_nano", "idle_nano")
_EXAMPLES = {
    "month": "2026-01",
    "day": "2026-01-31",
    "hour": "2026-01-31T13:00Z",
    "hour_of_week": "Mon 13:00",
}
_PERCENTILES = {"p50_seconds": 0.5, "p95_seconds": 0.95, "p99_seconds": 0.99}


# --- what was asked --------------------------------------------------------------------------


def parse_usage_query(
    params: Mapping[str, str], principal: Principal, *, now_at: float
) -> UsageQuery:
    """The query of ``/usage?from=7d&group_by=user,tag:team&model=minilm``.

    ``from`` and ``to`` are a date, a date and time (UTC unless they say otherwise) or how long
    ago (30m, 12h, 7d, 4w); ``limit`` is how many groups are told; every other parameter is a
    dimension and the value it must have. ``tz`` is the zone of dates, days and hours, UTC unless it
    is given. A user sees its own calls alone, a delegate those with its tags. Raises ApiError: 400
    names the parameter and what is allowed, 403 is for a user who asks for another one's.
    """
    for name in params:
        if name not in _OTHER_PARAMS and not _is_dimension(name):
            allowed = ", ".join((*_OTHER_PARAMS, *DIMENSIONS))
            raise _bad(name, f"unknown parameter {_short(name)}; allowed: {allowed}, tag:NAME")
    zone = _zone(params.get("tz", "UTC"))
    since, until = (_instant(params, name, now_at, zone_of(zone)) for name in ("from", "to"))
    if since is not None and until is not None and since >= until:
        raise _bad("from", "from must be before to")
    return UsageQuery(
        since=since,
        until=until,
        group_by=_group_by(params.get("group_by", "user")),
        where=_where(params, principal),
        limit=_limit(params.get("limit")),
        zone=zone,
        durations=yes("percentiles", params.get("percentiles", "false")),
    )


def _zone(name: str) -> str:
    try:
        zone_of(name)
    except ValueError:
        raise _bad(
            "tz", f"{_short(name)} is no time zone; write one such as Europe/Berlin, or UTC"
        ) from None
    return name


def yes(name: str, text: str) -> bool:
    """Raises ApiError for a text that is neither true nor false."""
    if text not in ("true", "false"):
        raise _bad(name, f"{name} is true or false")
    return text == "true"


def _is_dimension(name: str) -> bool:
    return name in DIMENSIONS or _TAG.match(name) is not None


def _group_by(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    for name in names:
        if not _is_dimension(name):
            allowed = ", ".join(DIMENSIONS)
            raise _bad("group_by", f"{_short(name)} is no dimension; allowed: {allowed}, tag:NAME")
    if len(set(names)) != len(names):
        raise _bad("group_by", "group_by names a dimension twice")
    if len(names) > _MAX_GROUPS:
        raise _bad("group_by", f"group_by takes at most {_MAX_GROUPS} dimensions")
    return names


def _limit(text: str | None) -> int | None:
    if text is None:
        return None
    if not re.fullmatch(r"[0-9]{1,9}", text) or not 1 <= int(text) <= _MAX_LIMIT:
        raise _bad("limit", f"limit is a whole number from 1 to {_MAX_LIMIT}")
    return int(text)


def _where(params: Mapping[str, str], principal: Principal) -> dict[str, str]:
    where = {name: _value(name, text) for name, text in params.items() if _is_dimension(name)}
    if principal.role == "admin":
        return where
    if principal.role == "delegate" and principal.tags:
        return where | _of_team(where, principal.tags)
    if where.get("user", principal.user) != principal.user:
        raise ApiError(
            403,
            "forbidden",
            "this key sees the usage of its own user alone; leave user out, or use an admin key",
            type="permission_error",
            param="user",
        )
    return where | {"user": principal.user}


def may_see(principal: Principal, user: str, tags: Mapping[str, str]) -> bool:
    """Whether a call of ``user`` with ``tags`` is one that the asker is told of."""
    if principal.role == "delegate" and principal.tags:
        return principal.tags.items() <= tags.items()
    return principal.role == "admin" or user == principal.user


def _of_team(where: Mapping[str, str], tags: Mapping[str, str]) -> dict[str, str]:
    own = {f"tag:{name}": value for name, value in tags.items()}
    other = next((name for name, value in own.items() if where.get(name, value) != value), None)
    if other is not None:
        raise ApiError(
            403,
            "forbidden",
            f"a delegate's key sees the usage of its team alone, whose {other} is {own[other]}; "
            "leave it out, or use an admin key",
            type="permission_error",
            param=other,
        )
    return own


def _value(name: str, text: str) -> str:
    allowed = _VALUES.get(name)
    if allowed is not None and text not in allowed:
        raise _bad(name, f"{name} is one of {', '.join(allowed)}")
    example = _EXAMPLES.get(name)
    if example is not None:
        try:
            hour_of_week(text) if name == "hour_of_week" else interval_of(name, text, datetime.UTC)
        except ValueError:
            raise _bad(name, f"{name} is written like {example}") from None
    if len(text) > _MAX_VALUE:
        raise _bad(name, f"{_short(name)} has at most {_MAX_VALUE} characters")
    return text


def _instant(
    params: Mapping[str, str], name: str, now_at: float, zone: datetime.tzinfo
) -> float | None:
    text = params.get(name, "").strip()
    if not text:
        return None
    relative = _RELATIVE.match(text)
    if relative is not None:
        return max(0.0, now_at - int(relative[1]) * _SECONDS[relative[2]])
    try:
        return instant_of(text, zone)
    except ValueError:
        raise _bad(
            name,
            f"{name} is a date such as 2026-01-31, a time such as 2026-01-31T13:00Z, "
            "or how long ago, such as 30m, 12h, 7d or 4w",
        ) from None


def _bad(param: str, message: str) -> ApiError:
    return ApiError(400, "invalid_parameter", message, param=param[:64])


def _short(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:37] + "...")


_REFUSED: dict[str, tuple[int, str, dict[str, str]]] = {
    "too_many_groups": (400, "limit", {}),
    "report_too_slow": (504, "from", {"x-should-retry": "false"}),
    "archived": (400, "from", {}),
    "reports_busy": (503, "from", {"Retry-After": "5", "x-should-retry": "true"}),
}
"""Fault -> status, the parameter that makes the report smaller, headers."""


def refusal_of(refused: ReportRefused) -> ApiError:
    """What the caller is told of a report that was not made."""
    status, param, headers = _REFUSED[refused.fault]
    kind = "invalid_request_error" if status < 500 else "api_error"
    return ApiError(status, refused.fault, str(refused), type=kind, param=param, headers=headers)


# --- how it is shown -------------------------------------------------------------------------


def total_of(rows: Iterable[UsageRow]) -> UsageRow:
    """One row that is the sum of all."""
    sums = dict.fromkeys((*_COUNTS, *(f"{each}_us" for each in _TIMES), *_COSTS), 0)
    durations: tuple[int, ...] = ()
    for row in rows:
        for name in sums:
            sums[name] += getattr(row, name)
        if row.durations:
            durations = tuple(map(add, durations or [0] * BUCKETS, row.durations))
    named: dict[str, Any] = dict(sums)
    return UsageRow(group={}, **named, durations=durations)


def as_json(report: UsageReport, query: UsageQuery) -> dict[str, Any]:
    """The body of ``/usage``. ``cost_nano`` is exact; ``cost_usd`` is the nearest float to it. The
    totals are those of all groups, ``left_out`` those of the ones that ``limit`` left out."""
    left_out = report.left_out
    return {
        "object": "usage",
        "from": iso_or_none(query.since, "milliseconds"),
        "to": iso_or_none(query.until, "milliseconds"),
        "group_by": list(query.group_by),
        "filters": query.where,
        "limit": query.limit,
        "tz": query.zone,
        "currency": "USD",
        "rows": [row.group | _figures(row, query) for row in report.rows],
        "left_out": None
        if left_out is None
        else {"groups": report.groups_left_out} | _figures(left_out, query),
        "totals": _figures(_total(report), query),
    }


def as_json_bytes(report: UsageReport, query: UsageQuery) -> bytes:
    """The same, written. Row by row: a thread that writes a large one lets others in between."""
    body = as_json(report, query)
    body["rows"] = [msgspec.Raw(msgspec.json.encode(row)) for row in body["rows"]]
    return msgspec.json.encode(body)


def _total(report: UsageReport) -> UsageRow:
    return total_of(report.rows if report.left_out is None else [*report.rows, report.left_out])


def as_csv(report: UsageReport, query: UsageQuery) -> str:
    """RFC 4180 with a header, of the groups that are told. Text that a spreadsheet would run as a
    formula begins with '."""
    sheet = io.StringIO(newline="")
    writer = csv.writer(sheet)
    writer.writerow([*(safe_cell(name) for name in query.group_by), *_figures(total_of(()), query)])
    for row in report.rows:
        figures = _figures(row, query) | {"cost_usd": usd(row.cost_nano, padded=True)}
        groups = (safe_cell(row.group[name]) for name in query.group_by)
        writer.writerow([*groups, *figures.values()])
    return sheet.getvalue()


def as_table(report: UsageReport, query: UsageQuery) -> str:
    """For a terminal: a line a group, one for what was left out, and a total unless there is
    exactly one group."""
    names, rows = query.group_by, report.rows
    lines = [[*names, "calls", "errors", "cold", "gpu s", "USD"]]
    lines += [[*(_printable(row.group[name]) for name in names), *_cells(row)] for row in rows]
    if report.left_out is not None:
        words = f"{report.groups_left_out} more"
        lines.append([*_label(words, len(names)), *_cells(report.left_out)])
    if len(lines) != 2:
        lines.append([*_label("total", len(names)), *_cells(_total(report))])
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return "".join(_table_line(line, widths, len(names)) for line in lines)


def _label(words: str, columns: int) -> list[str]:
    return [words, *("" for _ in range(columns - 1))] if columns else []


def _table_line(line: list[str], widths: list[int], left: int) -> str:
    cells = (
        cell.ljust(width) if column < left else cell.rjust(width)
        for column, (cell, width) in enumerate(zip(line, widths, strict=True))
    )
    return "  ".join(cells).rstrip() + "\n"


def _cells(row: UsageRow) -> list[str]:
    counts = [str(each) for each in (row.calls, row.errors, row.cold_starts)]
    return [*counts, f"{row.gpu_us / MICRO:.3f}", usd(row.cost_nano, padded=True)]


def _figures(row: UsageRow, query: UsageQuery) -> dict[str, int | float | None]:
    figures: dict[str, int | float | None] = {name: getattr(row, name) for name in _COUNTS}
    for name in _TIMES:
        figures[f"{name}_seconds"] = getattr(row, f"{name}_us") / MICRO
    figures |= {"cost_usd": row.cost_nano / NANO, "cost_nano": row.cost_nano}
    tokens = row.input_tokens + row.output_tokens
    figures |= {
        "usd_per_1000_calls": _ratio(row.cost_nano * 1_000, row.calls * NANO),
        "usd_per_million_tokens": _ratio(row.cost_nano * 1_000_000, tokens * NANO),
        "cold_start_share": _ratio(row.cold_starts, row.calls),
        "idle_share": _ratio(row.idle_nano, row.cost_nano),
    }
    if query.durations:
        for name, share in _PERCENTILES.items():
            told = percentile_s(row.durations, share)
            figures[name] = None if told is None else round(told, 6)
    return figures


def _ratio(part: int, whole: int) -> float | None:
    """To six significant digits; None of nothing."""
    return float(f"{part / whole:.6g}") if whole else None


def _printable(value: str) -> str:
    """A terminal obeys control characters: a group's name must not."""
    return "".join(char if char.isprintable() else "?" for char in value) or "-"
