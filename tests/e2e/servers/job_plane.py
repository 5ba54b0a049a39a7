"""A platform's queue of jobs, in trouble until it is mended; it keeps a bill."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from typing import Any, ClassVar, Literal

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
    "paused",
    "paused_in_words",
    "no_endpoint",
    "no_credit",
    "no_credit_in_words",
    "stuck",
    "cancelled_early",
    "cancelled_at_once",
    "fails_early",
    "too_late",
    "cancelled_late",
    "job_fails",
    "times_out",
    "never_ends",
    "cancel_fails",
    "polls_fail",
    "polls_cut",
    "forgotten",
]
Refusals = dict[Trouble | None, tuple[int, Any]]
State = Literal["waits", "runs", "done", "failed", "timed_out", "cancelled", "expired"]
RUN_S = 1.0
NEVER_S = 1e9
_LOOK_S = 0.1
_ENDS: dict[Trouble | None, State] = {
    "cancelled_late": "cancelled",
    "job_fails": "failed",
    "times_out": "timed_out",
}
_ENDLESS = ("never_ends", "cancel_fails", "polls_fail", "polls_cut", "forgotten")
_NEVER_BEGAN: dict[Trouble | None, State] = {
    "stuck": "waits",
    "cancelled_early": "cancelled",
    "cancelled_at_once": "cancelled",
    "fails_early": "failed",
    "too_late": "expired",
}
_REFUSES: Refusals = {
    "submit_500": (500, {"error": "no"}),
    "submit_429": (429, {"error": "no"}),
    "submit_401": (401, {"error": "no"}),
    "paused": (400, {"error": "This endpoint is paused"}),
    "paused_in_words": (200, {"error": "endpoint paused"}),
    "no_endpoint": (404, {"error": "endpoint not found"}),
    "no_credit": (402, {"error": "payment required"}),
    "no_credit_in_words": (403, {"error": "Insufficient balance to run this endpoint"}),
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
        return max(0.0, until - self.began)

    def state(self, now: float) -> State:
        """How it stands."""
        if self.cancelled is not None:
            return "cancelled"
        if self.trouble in _NEVER_BEGAN:
            return "expired" if now >= self.ends_by else _NEVER_BEGAN[self.trouble]
        if now < self.began:
            return "waits"
        if self.trouble in _ENDLESS:
            return "cancelled" if now >= self.ends_by else "runs"
        # Not by the seconds that it ran: of sums and differences of fractions none need be equal.
        return _ENDS.get(self.trouble, "done") if now >= self.began + RUN_S else "runs"


class JobPlane(FaultyServer):
    """``async with RunpodPlane(clock) as plane: ... plane.trouble = "stuck"``."""

    refuses: ClassVar[Refusals] = {}
    """What it refuses a call with in its own words."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__()
        self.trouble: Trouble | None = None
        self.tells_times = True
        """Of a job that has ended."""
        self.waits_s = 0.0
        """How long a job waits before it runs."""
        self.jobs: dict[str, Job] = {}
        self.clock = clock

    def billed_s(self, first: int = 0) -> float:
        """Seconds of all jobs until now, from the one of this number on."""
        now = self.clock.monotonic()
        return sum(job.ran_s(now) for job in list(self.jobs.values())[first:])

    @abstractmethod
    def said(self, id: str) -> dict[str, Any]:
        """How a job stands, in the platform's words."""

    @property
    def left(self) -> list[str]:
        """Jobs that wait or run: for nobody, once no call is in flight."""
        return [id for id in self.jobs if self.state(id) in ("waits", "runs")]

    def state(self, id: str) -> State:
        """How a job stands now."""
        return self.jobs[id].state(self.clock.monotonic())

    async def ended(self, id: str, within_s: float = NEVER_S) -> State:
        """How a job stands at its end, or after so many seconds."""
        until = self.clock.monotonic() + within_s
        while self.state(id) in ("waits", "runs") and self.clock.monotonic() < until:
            await self.clock.sleep(_LOOK_S)
        return self.state(id)

    async def submit(
        self, writer: asyncio.StreamWriter, *, life_s: float = NEVER_S, id: str = ""
    ) -> str | None:
        """Takes a job, by the caller's ``id`` where there is one, and answers for it where it is in
        trouble; else its id."""
        self.calls += 1
        refusal = {**_REFUSES, **self.refuses}.get(self.trouble)
        if refusal is not None:
            writer.write(answer(*refusal))
        elif self.trouble == "submit_web_page":
            writer.write(answer(200, b"<html>maintenance</html>", kind="text/html"))
        elif self.trouble == "submit_no_id":
            writer.write(answer(200, self.unnamed(self._new(life_s, id))))
        elif self.trouble == "submit_reset":
            self._new(life_s, id)
            writer.transport.abort()
        else:
            return self._new(life_s, id)
        return None

    def unnamed(self, id: str) -> dict[str, Any]:
        """The answer to a submit without the job's name."""
        return {**self.said(id), "id": ""}

    def _new(self, life_s: float, id: str) -> str:
        id, now = id or f"job-{len(self.jobs)}", self.clock.monotonic()
        self.jobs[id] = Job(now + self.waits_s, self.trouble, now + life_s)
        return id

    def cancel(self, id: str, writer: asyncio.StreamWriter) -> None:
        """Ends a job."""
        if self.trouble == "cancel_fails":
            writer.write(answer(500))
            return
        job, now = self.jobs[id], self.clock.monotonic()
        if self.can_cancel(job.state(now)):
            job.cancelled = now
        writer.write(answer(200, self.said(id)))

    def can_cancel(self, state: State) -> bool:
        """Whether the platform ends a job that stands so."""
        return state in ("waits", "runs")

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
