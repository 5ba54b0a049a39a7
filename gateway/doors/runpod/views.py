"""What an endpoint tells of a job, and of what is wrong. Pure."""

from __future__ import annotations

from typing import Any

import msgspec

from gateway.api.requests.door import ToldError
from gateway.doors.requests.pages import shown_only
from gateway.jobs.records import output_of, read_answer, read_fault
from gateway.storage.jobs.base import StoredJob
from gateway.storage.jobs.states import ENDED, JobState
from gateway.types import ApiError

DIALECT = "runpod"
_STATES: dict[JobState, str] = {
    "queued": "IN_QUEUE",
    "starting": "IN_QUEUE",
    "running": "IN_PROGRESS",
    "succeeded": "COMPLETED",
    "failed": "FAILED",
    "canceled": "CANCELLED",
    "expired": "TIMED_OUT",
}
_OUT_OF_TIME = frozenset(("timeout", "backend_timeout"))


def state_of(job: StoredJob) -> str:
    """A job that ran for too long has TIMED_OUT, as one has that was not begun in time."""
    fault = read_fault(job.error) if job.state == "failed" else None
    if fault is not None and fault.code in _OUT_OF_TIME:
        return _STATES["expired"]
    return _STATES[job.state]


def shown(job: StoredJob) -> dict[str, Any]:
    """A job as /status has it: times in milliseconds, and the output once it is there."""
    fault = read_fault(job.error) if job.state in ENDED else None
    view = shown_only(
        {
            "id": job.id,
            "status": state_of(job),
            "delayTime": _ms(job.created_at, job.started_at),
            "executionTime": _ms(job.started_at, job.ended_at),
            "error": None if fault is None else fault.message,
        }
    )
    if job.state == "succeeded":
        view["output"] = output_of(read_answer(job.answer))
    return view


def parts_of(job: StoredJob) -> list[msgspec.Raw | object]:
    """The pieces of a job's output: what a list holds, or all of it."""
    answer = read_answer(job.answer) if job.state == "succeeded" else None
    if answer is None:
        return []
    output = output_of(answer)
    if isinstance(output, msgspec.Raw) and bytes(output).lstrip().startswith(b"["):
        return list(msgspec.json.decode(output, type=list[msgspec.Raw]))
    return [output]


def _ms(since: float | None, until: float | None) -> int | None:
    if since is None or until is None:
        return None
    return max(0, round((until - since) * 1000))


def told(error: ApiError) -> ToldError:
    """As the platform tells it. Out of budget is 402 there too; a limit of rates 429."""
    return ToldError(error.status, {"error": error.message, "code": error.code})
