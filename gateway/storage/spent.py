"""What calls were charged since an instant, by all that tells in which scopes they count: as SQL
that every ledger's database reads, and its answer."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import msgspec

from gateway.storage.queries import UsageQuery, UsageReport

_tags = msgspec.json.Decoder(dict[str, str]).decode
_COLUMNS = ("key_id", '"user"', "plan", "CAST(tags AS TEXT)", "model", "backend")
_ALIKE = ("key", "user", "plan", "model", "backend")
_COUNTED = ("calls", "gpu_us", "cost_nano", "input_tokens", "output_tokens")
_UNCOUNTED = ("idle", "correction")
"""Kinds of rows that no limit holds for."""
_SUMS = ("gpu_us", "cost_nano", "input_tokens", "output_tokens")


class Spent(msgspec.Struct, frozen=True, kw_only=True):
    """What the calls that are alike in all of these were charged; sums over them are those of any
    scope."""

    key_id: str
    user: str
    plan: str
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


def spent_sql(mark: str, step_us: int = 0) -> str:
    """The statement; ``mark`` stands for its parameter, the first instant, in microseconds. What
    nobody used is not among it."""
    sums = ", ".join(f"CAST(SUM({name}) AS BIGINT)" for name in _SUMS)
    step = f"started_at / {int(step_us)}" if step_us else "0"
    return (
        f"SELECT {', '.join(_COLUMNS)}, {step}, "  # noqa: S608 - constant names and a number
        f"COUNT(*) FILTER (WHERE kind = 'call'), {sums} "
        f"FROM entries WHERE started_at >= {mark} AND kind NOT IN ('idle', 'correction') "
        f"GROUP BY 1, 2, 3, 4, 5, 6, 7 ORDER BY 1, 2, 3, 4, 5, 6, 7"
    )


def spent_of(row: Sequence[Any]) -> Spent:
    """One row of what the statement found."""
    key_id, user, plan, tags, model, backend, step, calls, gpu_us, nano, read, written = row
    return Spent(
        key_id=key_id,
        user=user,
        plan=plan,
        tags=_tags(tags),
        model=model,
        backend=backend,
        step=step,
        calls=calls,
        gpu_us=gpu_us,
        nano_usd=nano,
        input_tokens=read,
        output_tokens=written,
    )


def spent_query(since: float) -> UsageQuery:
    """A report of the same, without tags and in one step, that roll-ups answer."""
    return UsageQuery(since=since, group_by=(*_ALIKE, "kind"), every_group=True)


def spent_in(report: UsageReport) -> list[Spent]:
    """What was asked by ``spent_query``, in the order of what tells the calls apart."""
    sums: defaultdict[tuple[str, ...], list[int]] = defaultdict(lambda: [0] * len(_COUNTED))
    for row in report.rows:
        if row.group["kind"] not in _UNCOUNTED:
            sum_of = sums[tuple(row.group[name] for name in _ALIKE)]
            for index, name in enumerate(_COUNTED):
                sum_of[index] += getattr(row, name)
    return [
        spent_of((*alike[:3], "{}", *alike[3:], 0, *counted))
        for alike, counted in sorted(sums.items())
    ]
