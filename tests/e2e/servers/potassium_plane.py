"""Background calls of a server with Potassium's face that names them, as this project's runtime
does (``docs/runtime.md``)."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.e2e.servers.faulty import WHOLE
from tests.e2e.servers.job_plane import JobPlane, State
from tests.programs.faults.speech import Asked, answer

_STATUS: dict[State, str] = {
    "waits": "running",
    "runs": "running",
    "done": "completed",
    "failed": "failed",
    "timed_out": "failed",
    "cancelled": "cancelled",
    "expired": "failed",
}


class PotassiumPlane(JobPlane):
    """A background handler at ``/``, and its jobs below ``/_k``."""

    async def answer(self, asked: Asked, writer: asyncio.StreamWriter) -> None:
        parts = asked.path.strip("/").split("/")
        if parts[-1] == "status":
            writer.write(answer(200, {"gpu_available": True}))
        elif parts[-1] == "cancel":
            self.cancel(parts[-2], writer)
        elif parts[0] == "_k":
            self.poll(parts[-1], writer)
        else:
            id = await self.submit(writer)
            if id is not None:
                writer.write(answer(200, {"started": True, "job_id": id}))

    def said(self, id: str) -> dict[str, Any]:
        state = self.state(id)
        said: dict[str, Any] = {"job_id": id, "status": _STATUS[state]}
        if state == "done":
            said["output"] = WHOLE
        elif state not in ("waits", "runs"):
            said["error"] = "boom"
        return said
