"""What a ledger is asked for reports, and what it answers."""

from __future__ import annotations

from typing import Literal

import msgspec

Dimension = Literal[
    "user",
    "key",
    "plan",
    "model",
    "task",
    "backend",
    "price",
    "month",
    "day",
    "hour",
    "hour_of_week",
    "outcome",
    "error",
    "reason",
    "route",
    "kind",
]


class UsageQuery(msgspec.Struct, frozen=True, kw_only=True):
    """What ``/usage`` was asked. ``group_by`` entries are Dimensions or ``tag:NAME``."""

    since: float | None = None
    until: float | None = None
    group_by: tuple[str, ...] = ("user",)
    where: dict[str, str] = {}
    """Dimension or ``tag:NAME`` -> the value it must have."""
    limit: int | None = None
    """The most groups that are told, the dearest first; the rest is told as one sum. None: all."""
    zone: str = "UTC"
    """Whose months, days and hours are meant."""
    durations: bool = False
    """Whether it is counted how long calls took."""
    every_group: bool = False
    """All of them, however many: for who adds them up, not for who is told them."""


class CallsCursor(msgspec.Struct, frozen=True):
    """The last row of a page: the next one begins behind it."""

    started_at: float
    id: str


class CallsQuery(msgspec.Struct, frozen=True, kw_only=True):
    """What ``/usage/calls`` was asked: the conditions of ``rows``, whose grouping and limit are of
    no account, and at most ``most`` of them."""

    rows: UsageQuery
    most: int
    before: CallsCursor | None = None
    """Left out: from the newest on."""


class UsageRow(msgspec.Struct, frozen=True, kw_only=True):
    """A sum over settled rows. ``calls`` counts rows of kind "call"; the rest counts all."""

    group: dict[str, str]
    calls: int
    errors: int
    refused: int = 0
    """Of the errors, those of calls that no backend was asked for."""
    cold_starts: int
    input_tokens: int
    output_tokens: int
    queue_us: int
    cold_us: int
    exec_us: int
    gpu_us: int
    cost_nano: int
    idle_nano: int = 0
    """Of the cost, what no call used."""
    durations: tuple[int, ...] = ()
    """Calls by how long they took, where that was asked: see ``durations.py``."""


class UsageReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a query found. All ``rows`` and ``left_out`` together are the whole."""

    rows: list[UsageRow]
    """By cost, dearest first."""
    groups_left_out: int = 0
    left_out: UsageRow | None = None
    """The sum of the groups that ``limit`` left out; None where there are none."""
