"""Replicate's predictions: held for a while, ended by their own deadline, streamed by events.

Sources: https://replicate.com/docs/reference/http,
https://replicate.com/docs/topics/predictions/lifecycle,
https://replicate.com/docs/topics/predictions/streaming
"""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any, ClassVar

from tests.e2e.servers.faulty import EVENTS, WHOLE
from tests.e2e.servers.job_plane import NEVER_S, JobPlane, Refusals, State
from tests.programs.faults.speech import STREAM_HEAD, Asked, answer

_STATUS: dict[State, str] = {
    "waits": "starting",
    "runs": "processing",
    "done": "succeeded",
    "failed": "failed",
    "timed_out": "failed",
    "cancelled": "canceled",
    "expired": "aborted",
}
_BEGAN_AT = "2026-11-22T12:00:00Z"
_OUTPUT = [b"data: " + json.dumps(event).encode() + b"\n\n" for event in EVENTS]


class ReplicatePlane(JobPlane):
    """``/v1/deployments/OWNER/NAME/predictions`` and what belongs to it."""

    refuses: ClassVar[Refusals] = {
        "paused": (422, {"detail": "The deployment is disabled", "status": 422}),
        "paused_in_words": (200, {"detail": "The deployment is disabled"}),
    }

    async def answer(self, asked: Asked, writer: asyncio.StreamWriter) -> None:
        parts = asked.path.strip("/").split("/")
        if parts[0] == "stream":
            await self._stream(parts[1], writer)
        elif parts[-1] == "predictions":
            await self._create(asked, writer)
        elif parts[-1] == "cancel":
            self.cancel(parts[-2], writer)
        elif parts[1] == "predictions":
            self.poll(parts[-1], writer)
        else:
            kept = {"current_release": {"configuration": {"min_instances": 1}}}
            writer.write(answer(200, kept))

    def said(self, id: str) -> dict[str, Any]:
        """A prediction's record: the run's time only once it has begun."""
        state, ran = self.state(id), self.jobs[id].ran_s(self.clock.monotonic())
        said: dict[str, Any] = {
            "id": id,
            "status": _STATUS[state],
            "created_at": _BEGAN_AT,
            "started_at": _BEGAN_AT if ran or state == "runs" else None,
            "urls": {"stream": f"{self.url}/stream/{id}"},
        }
        if state not in ("waits", "runs") and ran:
            said["metrics"] = {"predict_time": ran}
        if state in ("failed", "timed_out"):
            said["error"] = "boom" if state == "failed" else "Prediction timed out"
        if state == "done":
            said["output"] = WHOLE
        return said

    async def _create(self, asked: Asked, writer: asyncio.StreamWriter) -> None:
        """``Prefer: wait`` holds it, ``Cancel-After`` ends it."""
        id = await self.submit(writer, life_s=_seconds(asked.head, "cancel-after: ", NEVER_S))
        if id is None:
            return
        await self.ended(id, _seconds(asked.head, "prefer: wait=", 0.0))
        writer.write(answer(201, self.said(id)))

    async def _stream(self, id: str, writer: asyncio.StreamWriter) -> None:
        """The output as it comes; a stream that is silent for half a minute is closed."""
        writer.write(STREAM_HEAD)
        await writer.drain()
        state = await self.ended(id, 30.0)
        if state in ("waits", "runs"):
            _put(writer, b":408: 408 Request Timeout\n\n", last=True)
            return
        if state == "done":
            for part in _OUTPUT:
                lines = b"".join(b"data: %b\n" % line for line in part.split(b"\n"))
                _put(writer, b"event: output\n" + lines + b"\n")
        reason = {"cancelled": "canceled", "done": None}.get(state, "error")
        if reason == "error":
            _put(writer, b'event: error\ndata: {"detail": "boom"}\n\n')
        done = json.dumps({"reason": reason} if reason else {}).encode()
        _put(writer, b"event: done\ndata: %b\n\n" % done, last=True)


def _put(writer: asyncio.StreamWriter, data: bytes, *, last: bool = False) -> None:
    writer.write(b"%x\r\n%b\r\n" % (len(data), data) + (b"0\r\n\r\n" if last else b""))


def _seconds(head: str, name: str, default: float) -> float:
    found = re.search(re.escape(name) + r"(\d+)", head)
    return default if found is None else float(found[1])
