"""One JSON line for each call that ended, written where all log lines are.

The lines hold what the ledger's row holds; what cannot be written in time is dropped and counted.
"""

from __future__ import annotations

from functools import partial

import msgspec

from gateway.clock import Clock
from gateway.log_lines import LineWriter
from gateway.storage.base import LedgerRow

_EVERY_S = 0.25
"""Lines are written together this often: a thread that woke for each would cost more than they."""
_ROWS = 10_000
"""Of one such batch; past it lines are dropped."""


class LogLine(msgspec.Struct, frozen=True, omit_defaults=True):
    """What one line says; ``at`` is seconds since the epoch, ``ms`` the whole call, and what is
    empty or zero is left out."""

    at: float
    id: str
    user: str
    key: str
    model: str
    backend: str
    reason: str
    route: str
    policy: str
    outcome: str
    status: int
    ms: float
    queue_ms: float = 0.0
    cold_ms: float = 0.0
    exec_ms: float = 0.0
    cost_nano: int = 0
    error: str = ""
    attempts: int = 0


class AccessLog:
    """Takes rows on the event loop, hands them to the writer in batches. ``None``: no log."""

    def __init__(self, writer: LineWriter | None, clock: Clock) -> None:
        self.dropped = 0
        self._writer = writer
        self._clock = clock
        self._rows: list[tuple[LedgerRow, int]] = []

    def add(self, row: LedgerRow, attempts: int) -> None:
        """Takes the row of a call that ended, and how many backends failed it before; a row that
        finds no room is dropped and counted."""
        if self._writer is None:
            return
        if not self._rows:
            self._clock.call_later(_EVERY_S, self.hand_over)
        if len(self._rows) < _ROWS:
            self._rows.append((row, attempts))
        else:
            self.dropped += 1

    def hand_over(self) -> None:
        """Gives the writer what has come since the last time."""
        rows, self._rows = self._rows, []
        if not rows or self._writer is None:
            return
        if not self._writer.put(len(rows), partial(_lines, rows)):
            self.dropped += len(rows)


def _lines(rows: list[tuple[LedgerRow, int]]) -> bytes:
    return msgspec.json.Encoder().encode_lines([_line(row, attempts) for row, attempts in rows])


def _line(row: LedgerRow, attempts: int) -> LogLine:
    ended = row.ended_at or row.started_at
    return LogLine(
        round(ended, 6),
        row.id,
        row.user,
        row.key_id,
        row.model,
        row.backend,
        row.reason,
        row.route,
        row.policy,
        row.outcome,
        row.status,
        round((ended - row.started_at) * 1000, 3),
        row.queue_us / 1000,
        row.cold_us / 1000,
        row.exec_us / 1000,
        row.cost_nano,
        row.error,
        attempts,
    )
