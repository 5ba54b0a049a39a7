"""One JSON line for each call that ended and for each request that was refused, written by a
thread so that a slow pipe delays nobody.

A call's line holds what the ledger's row holds; what cannot be written in time is dropped and
counted.
"""

from __future__ import annotations

import queue
import threading
from typing import BinaryIO

import msgspec

from gateway.clock import Clock
from gateway.storage.base import LedgerRow
from gateway.types import Principal

_EVERY_S = 0.25
"""Lines are written together this often: a thread that woke for each would cost more than they."""
_ROWS, _BATCHES = 10_000, 8
"""What may wait for the pipe; past it lines are dropped."""


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
    path: str = ""
    """Of a request that was refused: what it asked for, without its query."""


_Entry = tuple[LedgerRow, int] | LogLine
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
        path=path[:_LONGEST_PATH],
    )


class AccessLog:
    """Takes rows on the event loop, hands them to a thread in batches. ``None``: no log."""

    def __init__(self, target: BinaryIO | None, clock: Clock) -> None:
        self.dropped = 0
        self._target = target
        self._clock = clock
        self._rows: list[_Entry] = []
        self._batches: queue.Queue[list[_Entry]] = queue.Queue(_BATCHES)
        self._thread: threading.Thread | None = None

    @property
    def waiting(self) -> int:
        """Lines that the thread has not been given yet."""
        return len(self._rows)

    def start(self) -> None:
        """Begins to write, where there is something to write to."""
        if self._target is not None and self._thread is None:
            self._thread = threading.Thread(target=self._write, name="access-log", daemon=True)
            self._thread.start()

    def add(self, row: LedgerRow, attempts: int) -> None:
        """Takes the row of a call that ended, and how many backends failed it before; a row that
        finds no room is dropped and counted."""
        self._take((row, attempts))

    def add_refused(self, line: LogLine) -> None:
        """The same for a request that was refused."""
        self._take(line)

    def _take(self, entry: _Entry) -> None:
        if self._thread is None:
            return
        if not self._rows:
            self._clock.call_later(_EVERY_S, self._hand_over)
        if len(self._rows) < _ROWS:
            self._rows.append(entry)
        else:
            self.dropped += 1

    def _hand_over(self) -> None:
        rows, self._rows = self._rows, []
        if not rows:
            return
        try:
            self._batches.put_nowait(rows)
        except queue.Full:
            self.dropped += len(rows)

    def close(self) -> None:
        """Writes what waits, within a second."""
        if self._thread is not None:
            self._hand_over()
            try:
                self._batches.put([], timeout=1.0)
            except queue.Full:
                return
            self._thread.join(1.0)

    def _write(self) -> None:
        assert self._target is not None
        encode = msgspec.json.Encoder().encode_lines
        while batch := self._batches.get():
            try:
                self._target.write(encode([_line(entry) for entry in batch]))
                self._target.flush()
            except (OSError, ValueError):
                self.dropped += len(batch)


def _line(entry: _Entry) -> LogLine:
    if isinstance(entry, LogLine):
        return entry
    row, attempts = entry
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
