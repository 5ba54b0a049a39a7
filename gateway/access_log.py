"""One JSON line for each call that ended, written by a thread so that a slow pipe delays nobody.

The lines hold what the ledger's row holds; what cannot be written in time is dropped and counted.
"""

from __future__ import annotations

import queue
import threading
from typing import BinaryIO

import msgspec

from gateway.storage.base import LedgerRow

_WAITING = 20_000
"""Lines that may wait for the pipe; past it they are dropped."""


class Line(msgspec.Struct, frozen=True, omit_defaults=True):
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
    """Takes rows on the event loop, writes them in a thread. ``None`` as target: off."""

    def __init__(self, target: BinaryIO | None) -> None:
        self.dropped = 0
        self._target = target
        self._lines: queue.Queue[Line | None] = queue.Queue(_WAITING)
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        if self._target is not None and self._thread is None:
            self._thread = threading.Thread(target=self._write, name="access-log", daemon=True)
            self._thread.start()

    def add(self, row: LedgerRow, attempts: int) -> None:
        if self._target is None:
            return
        try:
            self._lines.put_nowait(_line(row, attempts))
        except queue.Full:
            self.dropped += 1

    def close(self) -> None:
        """Writes what waits, within a second."""
        if self._thread is not None:
            try:
                self._lines.put(None, timeout=1.0)
            except queue.Full:
                return
            self._thread.join(1.0)

    def _write(self) -> None:
        assert self._target is not None
        encoder = msgspec.json.Encoder()
        while True:
            line = self._lines.get()
            if line is None:
                return
            try:
                self._target.write(encoder.encode(line) + b"\n")
                if self._lines.empty():
                    self._target.flush()
            except (OSError, ValueError):
                self.dropped += 1


def _line(row: LedgerRow, attempts: int) -> Line:
    ended = row.ended_at or row.started_at
    return Line(
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
