"""A platform's queue of jobs, in trouble until it is mended; it keeps a bill."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from typing import Any, Literal

from gateway.clock import FakeClock
from tests.e2e.servers.faulty import FaultyServer
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
    "too_late",
    "job_fails",
    "times_out",
    "never_ends",
    "cancel_fails",
    "polls_fail",
    "polls_cut",
    "forgotten",
]
State = Literal["waits", "runs", "done", "failed", "timed_out", "cancelled", "expired"]
RUN_S = 1.0
_ENDS: dict[Trouble | None, State] = {"job_fails": "failed", "times_out": "timed_out"}
_ENDLESS = ("never_ends", "cancel_fails", "polls_fail", "polls_cut", "forgotten")
_NEVER_BEGAN: dict[Trouble | None, State] = {
    "stuck": "waits",
    "cancelled_early": "cancelled",
    "too_late": "expired",
}


class Job:
    """One job. ``ends_by``: when the platform itself ends one that nobody waits for."""

    def __init__(self, began: float, trouble: Trouble | None, ends_by: float) -> None:
        self.began = began
        self.trouble = trouble
        self.ends_by = ends_by
        self.cancelled: float | None = None

    def ran_s(self, now: float) -> float:
        """Seconds that it has run: those that the platform bills."""
        if self.trouble in _NEVER_BEGAN:
            return 0.0
        until = min(now, self.ends_by) if self.cancelled is None else self.cancelled
        if self.trouble not in _ENDLESS:
            until = min(until, self.began + RUN_S)
        return until - self.began

    def state(self, now: float) -> State:
        """How it stands."""
        if self.cancelled is not None:
            return "cancelled"
        if self.trouble in _NEVER_BEGAN:
            return "expired" if now >= self.ends_by else _NEVER_BEGAN[self.trouble]
        if self.trouble in _ENDLESS:
            return "cancelled" if now >= self.ends_by else "runs"
        return _ENDS.get(self.trouble, "done") if self.ran_s(now) >= RUN_S else "runs"


class JobPlane(FaultyServer):
    """``async with RunpodPlane(clock) as plane: ... plane.trouble = "stuck"``."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__()
        self.trouble: Trouble | None = None
        self.jobs: dict[str, Job] = {}
        self.clock = clock

    def billed_s(self) -> float:
        """Seconds of all jobs until now."""
        now = self.clock.monotonic()
        return sum(job.ran_s(now) for job in self.jobs.values())

    @abstractmethod
    def said(self, id: str) -> dict[str, Any]:
        """How a job stands, in the platform's words."""

    async def submit(self, writer: asyncio.StreamWriter, *, life_s: float = 1e9) -> str | None:
        """Takes a job, and answers for it where it is in trouble; else its id."""
        self.calls += 1
        if self.trouble in ("submit_500", "submit_429", "submit_401"):
            writer.write(answer(int(self.trouble[-3:]), {"error": "no"}))
        elif self.trouble == "submit_web_page":
            writer.write(answer(200, b"<html>maintenance</html>", kind="text/html"))
        elif self.trouble == "submit_no_id":
            writer.write(answer(200, {**self._new(life_s)[1], "id": ""}))
        elif self.trouble == "submit_reset":
            self._new(life_s)
            writer.transport.abort()
        else:
            return self._new(life_s)[0]
        return None

    def _new(self, life_s: float) -> tuple[str, dict[str, Any]]:
        id, now = f"job-{len(self.jobs)}", self.clock.monotonic()
        self.jobs[id] = Job(now, self.trouble, now + life_s)
        return id, self.said(id)

    def cancel(self, id: str, writer: asyncio.StreamWriter) -> None:
        """Ends a job."""
        if self.trouble == "cancel_fails":
            writer.write(answer(500))
            return
        job, now = self.jobs[id], self.clock.monotonic()
        if job.state(now) in ("waits", "runs"):
            job.cancelled = now
        writer.write(answer(200, self.said(id)))

    def poll(self, id: str, writer: asyncio.StreamWriter, **more: Any) -> None:
        """Says how a job stands, and ``more``."""
        if self.trouble == "polls_fail":
            writer.write(answer(500))
        elif self.trouble == "forgotten":
            writer.write(answer(404, {"error": "job not found"}))
        elif self.trouble == "polls_cut":
            writer.write(answer(200, size=100))
            writer.close()
        else:
            writer.write(answer(200, {**self.said(id), **more}))

    @abstractmethod
    async def answer(self, asked: Asked, writer: asyncio.StreamWriter) -> None:
        """The answer to one request."""
