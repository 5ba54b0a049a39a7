"""RunPod's queue (https://docs.runpod.io/serverless/endpoints/job-operations)."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from tests.e2e.servers.faulty import EVENTS, WHOLE
from tests.e2e.servers.job_plane import JobPlane, State
from tests.programs.faults.speech import Asked, answer

_STATUS: dict[State, str] = {
    "waits": "IN_QUEUE",
    "runs": "IN_PROGRESS",
    "done": "COMPLETED",
    "failed": "FAILED",
    "timed_out": "TIMED_OUT",
    "cancelled": "CANCELLED",
    "expired": "TIMED_OUT",
}


class RunpodPlane(JobPlane):
    """``/v2/ENDPOINT/run`` and what belongs to it."""

    async def answer(self, asked: Asked, writer: asyncio.StreamWriter) -> None:
        _, _, route, *rest = asked.path.strip("/").split("?")[0].split("/")
        if route == "health":
            writer.write(answer(200, {"jobs": {}, "workers": {"idle": 1, "ready": 1}}))
        elif route in ("run", "runsync"):
            id = await self.submit(writer)
            if id is not None:
                at_once = self.trouble in ("cancelled_at_once", "fails_early")
                said = self.said(id) if at_once else {"id": id, "status": "IN_QUEUE"}
                writer.write(answer(200, said))
        elif route == "cancel":
            self.cancel(rest[0], writer)
        elif route == "stream":
            parts = EVENTS if self.state(rest[0]) == "done" else ()
            self.poll(rest[0], writer, stream=[{"output": _copy(part)} for part in parts])
        else:
            self.poll(rest[0], writer)

    def said(self, id: str) -> dict[str, Any]:
        """A poll's answer."""
        state, ran = self.state(id), self.jobs[id].ran_s(self.clock.monotonic())
        job: dict[str, Any] = {"id": id, "status": _STATUS[state], "delayTime": 0}
        if state not in ("waits", "runs") and ran and self.tells_times:
            job["executionTime"] = round(ran * 1000)
        if state == "failed" and ran:
            job["error"] = "boom"
        if state == "done":
            job["output"] = [WHOLE]
        return job


def _copy(part: Any) -> Any:
    return json.loads(json.dumps(part))
