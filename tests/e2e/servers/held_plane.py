"""Platforms that hold a call until its end instead of naming a job."""

from __future__ import annotations

import asyncio
import re
from typing import Any, ClassVar

from tests.e2e.servers.faulty import EVENTS, WHOLE, well
from tests.e2e.servers.job_plane import NEVER_S, JobPlane, Refusals
from tests.programs.faults.speech import STREAM_HEAD, Asked, answer, chunk, error, event

_NO_ROOM = "The endpoint's queue is full"


class HuggingFacePlane(JobPlane):
    """The proxy before an endpoint, and the management API.

    A call to an endpoint whose replica is not up is held for ``X-Scale-Up-Timeout`` and then
    answered with 503, and so is one that finds the queue full. Once it runs, its answer is the
    engine's, at the end.

    Source: https://huggingface.co/docs/inference-endpoints/guides/autoscaling
    """

    refuses: ClassVar[Refusals] = {"paused": (400, {"error": "Bad Request: Invalid state"})}

    async def answer(self, asked: Asked, writer: asyncio.StreamWriter) -> None:
        if asked.path.startswith("/v2/"):
            self._manage(writer)
        elif asked.method == "get":
            writer.write(answer(200))
        else:
            await self._call(asked, writer)

    def said(self, id: str) -> dict[str, Any]:
        return error("boom", type="generation")

    async def _call(self, asked: Asked, writer: asyncio.StreamWriter) -> None:
        id = await self.submit(writer)
        if id is None:
            return
        held = re.search(r"x-scale-up-timeout: (\d+)", asked.head)
        within_s = float(held[1]) if held and self.trouble == "stuck" else NEVER_S
        if self.trouble in ("cancelled_early", "too_late"):
            within_s = 0.0
        state = await self.ended(id, within_s)
        if state == "done":
            await well(asked, writer)
        elif state == "failed":
            writer.write(answer(424, self.said(id)))
        elif state == "timed_out":
            writer.write(answer(504))
        else:
            writer.write(answer(503, {"error": "503 Service Unavailable"}))
            self.jobs[id].cancelled = self.clock.monotonic()

    def _manage(self, writer: asyncio.StreamWriter) -> None:
        states = {"stuck": "initializing", "cancelled_early": "paused", "polls_fail": "running"}
        state = states.get(self.trouble or "", "running")
        up = int(state == "running")
        writer.write(answer(200, {"status": {"state": state, "readyReplica": up}}))


class CogPlane(JobPlane):
    """A container of Cog's: 503 while its setup lasts, 409 where every slot is in use; a call is
    cancelled by its own id.

    Source: https://github.com/replicate/cog/blob/main/docs/http.md
    """

    async def answer(self, asked: Asked, writer: asyncio.StreamWriter) -> None:
        parts = asked.path.strip("/").split("/")
        if parts[0] == "health-check":
            status = "STARTING" if self.trouble == "stuck" else "READY"
            writer.write(answer(200, {"status": status}))
        elif parts[-1] != "cancel":
            await self._call(asked, parts[1], writer)
        elif parts[1] in self.jobs:
            self.cancel(parts[1], writer)
        else:
            writer.write(answer(404))

    def said(self, id: str) -> dict[str, Any]:
        state, ran = self.state(id), self.jobs[id].ran_s(self.clock.monotonic())
        said: dict[str, Any] = {"id": id, "status": "processing", "metrics": {"predict_time": ran}}
        if state == "done":
            return {**said, "status": "succeeded", "output": WHOLE}
        ends = {"failed": "failed", "timed_out": "failed", "cancelled": "canceled"}
        return {**said, "status": ends.get(state, "processing"), "error": "boom"}

    async def _call(self, asked: Asked, id: str, writer: asyncio.StreamWriter) -> None:
        if self.trouble == "stuck":
            writer.write(answer(503, {"error": "Model setup has not finished"}))
        elif self.trouble == "too_late":
            writer.write(answer(409, {"error": "At capacity"}))
        elif await self.submit(writer, id=id) is not None:
            await self.ended(id)
            self._tell(asked, id, writer)

    def _tell(self, asked: Asked, id: str, writer: asyncio.StreamWriter) -> None:
        said = self.said(id)
        if "text/event-stream" not in asked.head:
            writer.write(answer(200, said))
            return
        writer.write(STREAM_HEAD)
        if said["status"] == "succeeded":
            for part in EVENTS:
                writer.write(chunk(b"event: output\n" + event({"chunk": part})))
        writer.write(chunk(b"event: completed\n" + event({**said, "output": None})) + chunk(b""))
