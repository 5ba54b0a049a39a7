"""Background calls as the app's own server keeps them: those under way, and the last results."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from local_runtime.client.pending_call import CANCELLED, Answer, PendingCall
from local_runtime.json_bodies import json_or_text
from local_runtime.protocol.events import Done

MAX_KEPT = 1000
"""Results; one more, and the oldest is forgotten."""
MAX_BYTES = 64 * 1024 * 1024
"""Of all results that are kept."""


class JobRegistry:
    """Jobs by their id, which is the request id: a call repeated under one id runs once."""

    def __init__(self, *, max_kept: int = MAX_KEPT, max_bytes: int = MAX_BYTES) -> None:
        self._max_kept = max_kept
        self._max_bytes = max_bytes
        self._bytes = 0
        self._running: dict[str, PendingCall] = {}
        self._ended: OrderedDict[str, Answer] = OrderedDict()

    def __contains__(self, id: str) -> bool:
        return id in self._running or id in self._ended

    def add(self, id: str, pending: PendingCall) -> None:
        """Keeps a job that has begun; ``finish`` is called when its call has its answer."""
        self._running[id] = pending

    def finish(self, id: str) -> None:
        """Keeps the job's answer, which is there by now, in the place of its call."""
        answer = self._running.pop(id).answer
        assert answer is not None
        if _size(answer) > self._max_bytes:
            text = f"the result is too large to be kept: {_size(answer)} bytes"
            answer = Done(0, False, kind="failed", message=text)
        self._ended[id] = answer
        self._bytes += _size(answer)
        while len(self._ended) > self._max_kept or self._bytes > self._max_bytes:
            self._bytes -= _size(self._ended.popitem(last=False)[1])

    def cancel(self, id: str, keep_until: float) -> None:
        """Ends a job that is under way; one that has ended stays as it is."""
        pending = self._running.get(id)
        if pending is not None and pending.answer is None:
            pending.give_up(CANCELLED, keep_until)

    def read(self, id: str) -> dict[str, Any] | None:
        """``{"job_id", "status": "running" | "completed" | "failed" | "cancelled"}`` with
        ``output`` or ``error``; None when there is no such job (any more)."""
        answer = self._ended.get(id)
        if answer is None:
            pending = self._running.get(id)
            if pending is None:
                return None
            answer = pending.answer
        if answer is None:
            return {"job_id": id, "status": "running"}
        if isinstance(answer, Done) and answer.ok:
            return {"job_id": id, "status": "completed", "output": json_or_text(answer.data)}
        status = "cancelled" if answer.kind == "cancelled" else "failed"
        return {"job_id": id, "status": status, "error": answer.message}


def _size(answer: Answer) -> int:
    return len(answer.data) if isinstance(answer, Done) else 0
