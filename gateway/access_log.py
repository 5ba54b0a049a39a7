"""One JSON line for each call that ended and for each request that was refused, written where all
log lines are.

A call's line holds what the ledger's row holds, and what all its attempts cost; what cannot be
written in time is dropped and counted.
"""

from __future__ import annotations

from functools import partial

import msgspec

from gateway.api_keys import without_keys
from gateway.clock import Clock
from gateway.log_lines import LineWriter
from gateway.storage.base import LedgerRow
from gateway.types import Principal

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
    """Of the whole call, failed attempts that were charged included."""
    error: str = ""
    attempts: int = 0
    """Times that a backend failed it, for free or not."""
    path: str = ""
    """Of a request that was refused: what it asked for, without its query."""
    client: str = ""
    """Of one that was refused and had no good key: the address that it came from."""
    tags: dict[str, str] = {}
    """Of a call's row: those of its key, and those that its request gave."""


_Entry = tuple[LedgerRow, int, int] | LogLine
_LONGEST_PATH = 200


def refused_line(
    *,
    at: float,
    id: str,
    principal: Principal,
    model: str,
    policy: str,
    status: int,
    code: str,
    ms: float,
    path: str,
    client: str = "",
) -> LogLine:
    """The line of a request that was refused before a backend was asked: ``code`` says why. Of a
    request whose key is not known, user and key are empty; the key itself is in no line."""
    return LogLine(
        at=round(at, 6),
        id=id,
        user=principal.user,
        key=principal.key_id,
        model=model,
        backend="",
        reason="",
        route="",
        policy=policy,
        outcome="refused",
        status=status,
        ms=round(ms, 3),
        error=code,
        path=without_keys(path[:_LONGEST_PATH]),
        client=client,
    )


class AccessLog:
    """Takes rows on the event loop, hands them to the writer in batches. ``None``: no log."""

    def __init__(self, writer: LineWriter | None, clock: Clock) -> None:
        self.dropped = 0
        self._writer = writer
        self._clock = clock
        self._rows: list[_Entry] = []

    @property
    def waiting(self) -> int:
        """Lines that the writer has not been given yet."""
        return len(self._rows)

    def add(self, row: LedgerRow, cost_nano: int, attempts: int) -> None:
        """Takes the row of a call that ended, what all its attempts cost in nano-dollars, and how
        often a backend failed it; a row that finds no room is dropped and counted."""
        if self._writer is not None:
            self._take((row, cost_nano, attempts))

    def add_refused(self, line: LogLine) -> None:
        """The same for a request that was refused."""
        if self._writer is not None:
            self._take(line)

    def _take(self, entry: _Entry) -> None:
        if not self._rows:
            self._clock.call_later(_EVERY_S, self.hand_over)
        if len(self._rows) < _ROWS:
            self._rows.append(entry)
        else:
            self.dropped += 1

    def hand_over(self) -> None:
        """Gives the writer what has come since the last time."""
        rows, self._rows = self._rows, []
        if not rows or self._writer is None:
            return
        if not self._writer.put(len(rows), partial(_lines, rows)):
            self.dropped += len(rows)


def _lines(entries: list[_Entry]) -> bytes:
    return msgspec.json.Encoder().encode_lines([_line(entry) for entry in entries])


def _line(entry: _Entry) -> LogLine:
    if isinstance(entry, LogLine):
        return entry
    row, cost_nano, attempts = entry
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
        cost_nano,
        row.error,
        attempts,
        tags=row.tags,
    )
