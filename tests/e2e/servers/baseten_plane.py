"""Baseten's asynchronous requests, which a webhook answers.

Sources: https://docs.baseten.co/inference/async,
https://docs.baseten.co/reference/inference-api (async predict, status, cancel)
"""

from __future__ import annotations

import asyncio
import json
from typing import Any, ClassVar

from tests.e2e.servers.job_plane import NEVER_S, JobPlane, Refusals, State
from tests.programs.faults.speech import Asked, answer

_STATUS: dict[State, str] = {
    "waits": "QUEUED",
    "runs": "IN_PROGRESS",
    "done": "SUCCEEDED",
    "failed": "FAILED",
    "timed_out": "FAILED",
    "cancelled": "CANCELED",
    "expired": "EXPIRED",
}
_ACTIVE = {"current_deployment": {"status": "ACTIVE", "active_replica_count": 1}}


class BasetenPlane(JobPlane):
    """``/environments/production/async_predict`` and what belongs to it."""

    refuses: ClassVar[Refusals] = {
        "paused": (400, {"error": "The deployment is inactive"}),
        "paused_in_words": (200, {"error": "The deployment is inactive"}),
    }

    async def answer(self, asked: Asked, writer: asyncio.StreamWriter) -> None:
        parts = asked.path.strip("/").split("/")
        if parts[-1] == "async_predict":
            await self._take(asked, writer)
        elif parts[0] != "async_request":
            writer.write(answer(200, _ACTIVE))
        elif asked.method == "delete":
            self.cancel(parts[1], writer)
        else:
            self.poll(parts[1], writer)

    def said(self, id: str) -> dict[str, Any]:
        """A request's status; the platform states no times."""
        state = self.state(id)
        said: dict[str, Any] = {"request_id": id, "status": _STATUS[state]}
        if state == "failed":
            said["errors"] = [{"code": "MODEL_PREDICT_ERROR", "message": "boom"}]
        return {**said, "webhook_status": "SUCCEEDED" if state == "done" else None}

    def unnamed(self, id: str) -> dict[str, Any]:
        return {"request_id": ""}

    def can_cancel(self, state: State) -> bool:
        """The platform cancels what is queued and nothing that runs."""
        return state == "waits"

    async def _take(self, asked: Asked, writer: asyncio.StreamWriter) -> None:
        waits_s = json.loads(asked.body)["max_time_in_queue_seconds"]
        never_begins = self.trouble in ("stuck", "too_late")
        id = await self.submit(writer, life_s=float(waits_s) if never_begins else NEVER_S)
        if id is not None:
            writer.write(answer(201, {"request_id": id}))
