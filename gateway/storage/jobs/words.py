"""What the SQL of jobs is made of, and partly that of other tables beside theirs."""

from __future__ import annotations

from collections.abc import Collection

from gateway.types import MICRO

LIGHT = (
    "id", "state", "model", "task", "key_id", "caller", "rank", "created_at", "deadline_at",
    "keep_us", "started_at", "ended_at", "epoch", "cancel", "cost_nano", "webhook",
    "attempt", "error",
)  # fmt: skip
"""What is read of a job that is listed."""
COLUMNS = (*LIGHT, "request", "answer")
LIGHT_TEXT, COLUMNS_TEXT = ", ".join(LIGHT), ", ".join(COLUMNS)
ENTRY = "(SELECT entry FROM open_entries WHERE open_entries.id = jobs.id)"
"""The open row of a job's call, where it has one."""
ALIVE = "ended_at IS NULL"


def us(seconds: float) -> int:
    """Seconds in microseconds, as the tables have them."""
    return round(seconds * MICRO)


def cast(values: Collection[object], kind: str) -> str:
    """As many values of a type that a server cannot see by itself."""
    return ", ".join([f"CAST(? AS {kind})"] * len(values))


def marks(values: Collection[object]) -> str:
    """As many question marks."""
    return ", ".join("?" * len(values))
