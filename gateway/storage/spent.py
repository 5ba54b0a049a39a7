"""What calls were charged since an instant, by all that tells in which scopes they count."""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from gateway.storage.queries import UsageQuery, UsageReport

_tags = msgspec.json.Decoder(dict[str, str]).decode
_HOUR_S = 3_600

Side = Literal["callers", "places"]
"""Who called, which key, user, plan and tags tell; or where it ran, which model and backend do."""


class Spent(msgspec.Struct, frozen=True, kw_only=True):
    """What the calls that are alike in all of these were charged; sums over them are those of any
    scope of their side. What tells the other side is empty."""

    key_id: str = ""
    user: str = ""
    plan: str = ""
    tags: dict[str, str] = {}
    model: str = ""
    backend: str = ""
    step: int = 0
    """When they began: microseconds since the epoch, divided by ``step_us``; 0 without that."""
    calls: int = 0
    """Without attempts and pings."""
    gpu_us: int = 0
    nano_usd: int = 0
    input_tokens: int = 0
    output_tokens: int = 0


class SpentQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Of rows that began at or after ``since``, in seconds since the epoch; with ``step_us`` apart
    for each such length of time."""

    since: float
    side: Side = "callers"
    step_us: int = 0


def spent_of(side: Side, row: Sequence[Any]) -> Spent:
    """One row of what a ledger found: the side's columns, the step, and the sums."""
    *alike, step, calls, gpu_us, nano, read, written = row
    names: dict[str, Any] = (
        dict(zip(("key_id", "user", "plan"), alike, strict=False)) | {"tags": _tags(alike[3])}
        if side == "callers"
        else dict(zip(("model", "backend"), alike, strict=True))
    )
    return Spent(
        **names,
        step=step,
        calls=calls,
        gpu_us=gpu_us,
        nano_usd=nano,
        input_tokens=read,
        output_tokens=written,
    )


def hourly_calls(since: float) -> UsageQuery:
    """A report of the calls of each model and hour."""
    return UsageQuery(
        since=since, group_by=("model", "hour"), where={"kind": "call"}, every_group=True
    )


def calls_of(report: UsageReport) -> Counter[tuple[str, int]]:
    """(model, hour since the epoch) -> calls, of what was asked by ``hourly_calls``."""
    hours = (datetime.datetime.fromisoformat(row.group["hour"]) for row in report.rows)
    return Counter(
        {
            (row.group["model"], int(hour.timestamp()) // _HOUR_S): row.calls
            for row, hour in zip(report.rows, hours, strict=True)
        }
    )
