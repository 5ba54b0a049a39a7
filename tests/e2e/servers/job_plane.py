"""A platform's queue as RunPod speaks it, in trouble until it is mended; it keeps a bill."""

from __future__ import annotations

import asyncio
import json
from typing import Any, Literal

from gateway.clock import FakeClock
from tests.e2e.servers.faulty import EVENTS, WHOLE, FaultyServer
from tests.programs.faults.speech import Asked, answer

Trouble = Literal[
    "submit_500",
    "submit_429",
    "submit_401",
    "submit_reset",
    "submit_web_page",
    "submit_no_id",
    "stuck",
    "cancelled_early",
    "job_fails",
    "times_out",
    "never_ends",
    "cancel_fails",
    "polls_fail",
    "polls_cut",
    "forgotten",
]
RUN_S = 1.0
_ENDS = {"job_fails": "FAILED", "times_out": "TIMED_OUT"}
_ENDLESS = ("never_ends", "cancel_fails", "polls_fail", "polls_cut", "forgotten")


class Job:
    """One job; ``ran`` is False while it waits, and for ever where it is stuck."""

    def __init__(self, began: float, trouble: Trouble | None) -> None:
        self.began = began
        self.trouble = trouble
        self.cancelled: float | None = None

    def ran_s(self, now: float) -> float:
        """Seconds that it has run: those that the platform bills."""
        if self.trouble in ("stuck", "cancelled_early"):
            return 0.0
        until = now if self.cancelled is None else self.cancelled
        if self.trouble not in _ENDLESS:
            until = min(until, self.began + RUN_S)
        return until - self.began

    def said(self, id: str, now: float) -> dict[str, Any]:
        """What a poll is told."""
        ran = self.ran_s(now)
        ended = self.cancelled is not None
        status = "CANCELLED" if ended or self.trouble == "cancelled_early" else "IN_PROGRESS"
        if self.trouble == "stuck" and not ended:
            status = "IN_QUEUE"
        elif ran >= RUN_S and not ended and self.trouble not in _ENDLESS:
            status, ended = _ENDS.get(self.trouble or "", "COMPLETED"), True
        job: dict[str, Any] = {"id": id, "status": status, "delayTime": 0}
        if ended and ran:
            job["executionTime"] = round(ran * 1000)
        if status == "FAILED":
            job["error"] = "boom"
        if status == "COMPLETED":
            job["output"] = [WHOLE]
        return job


class JobPlane(FaultyServer):
    """``async with JobPlane(clock) as plane: ... plane.trouble = "stuck"``."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__()
        self.trouble: Trouble | None = None
        self.jobs: dict[str, Job] = {}
        self._clock = clock

    def billed_s(self) -> float:
        """Seconds of all jobs until now."""
        now = self._clock.monotonic()
        return sum(job.ran_s(now) for job in self.jobs.values())

    async def answer(self, asked: Asked, writer: asyncio.StreamWriter) -> None:
        _, _, route, *rest = asked.path.strip("/").split("?")[0].split("/")
        if route == "health":
            writer.write(answer(200, {"jobs": {}, "workers": {"idle": 1, "ready": 1}}))
        elif route in ("run", "runsync"):
            self._submit(writer)
        elif route == "cancel":
            self._cancel(rest[0], writer)
        else:
            self._poll(rest[0], writer, stream=route == "stream")

    def _submit(self, writer: asyncio.StreamWriter) -> None:
        self.calls += 1
        if self.trouble in ("submit_500", "submit_429", "submit_401"):
            writer.write(answer(int(self.trouble[-3:]), {"error": "no"}))
        elif self.trouble == "submit_web_page":
            writer.write(answer(200, b"<html>maintenance</html>", kind="text/html"))
        elif self.trouble == "submit_no_id":
            writer.write(answer(200, {"status": "IN_QUEUE"}))
        else:
            id = f"job-{len(self.jobs)}"
            self.jobs[id] = Job(self._clock.monotonic(), self.trouble)
            if self.trouble == "submit_reset":
                writer.transport.abort()
                return
            writer.write(answer(200, {"id": id, "status": "IN_QUEUE"}))

    def _cancel(self, id: str, writer: asyncio.StreamWriter) -> None:
        if self.trouble == "cancel_fails":
            writer.write(answer(500))
            return
        job = self.jobs[id]
        if job.cancelled is None:
            job.cancelled = self._clock.monotonic()
        writer.write(answer(200, job.said(id, self._clock.monotonic())))

    def _poll(self, id: str, writer: asyncio.StreamWriter, *, stream: bool) -> None:
        if self.trouble == "polls_fail":
            writer.write(answer(500))
        elif self.trouble == "forgotten":
            writer.write(answer(404, {"error": "job not found"}))
        elif self.trouble == "polls_cut":
            writer.write(answer(200, size=100))
            writer.close()
        else:
            said = self.jobs[id].said(id, self._clock.monotonic())
            parts = EVENTS if said["status"] == "COMPLETED" else ()
            if stream:
                said["stream"] = [{"output": json.loads(json.dumps(part))} for part in parts]
            writer.write(answer(200, said))
