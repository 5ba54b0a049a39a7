"""What callers are told of a job."""

from __future__ import annotations

from typing import Any

from gateway.jobs.outcomes import EndsAs
from gateway.jobs.records import JobAnswer, JobFault, output_of, read_answer, read_fault
from gateway.money.text import iso, iso_or_none, usd
from gateway.storage.jobs.base import StoredJob
from gateway.storage.jobs.states import ENDED


def shown(
    job: StoredJob, *, ahead: int | None = None, begins_at: float | None = None
) -> dict[str, Any]:
    """A job as it stands; its output once it has succeeded."""
    over = job.state in ENDED
    succeeded = job.state == "succeeded"
    queue = None
    if job.state == "queued":
        why = read_fault(job.error)
        queue = {
            "position": ahead,
            "predicted_start": iso_or_none(begins_at, "milliseconds"),
            "reason": _error(why),
        }
    return {
        "id": job.id,
        "object": "job",
        "state": job.state,
        "model": job.model,
        "task": job.task,
        "created_at": iso(job.created_at, "milliseconds"),
        "started_at": iso_or_none(job.started_at, "milliseconds"),
        "ended_at": iso_or_none(job.ended_at, "milliseconds"),
        "deadline": iso(job.deadline, "milliseconds"),
        "output": output_of(read_answer(job.answer)) if succeeded else None,
        "output_expired": succeeded and not job.answer,
        "error": _error(read_fault(job.error)) if over else None,
        "cost_usd": usd(job.cost_nano) if over else None,
        "queue": queue,
        "webhook": job.webhook or None,
    }


def _error(fault: JobFault | None) -> dict[str, Any] | None:
    """As the body of an error has it."""
    if fault is None:
        return None
    found: dict[str, Any] = fault.error().body()["error"]
    return found


def listed(job: StoredJob) -> dict[str, Any]:
    """One of many: without its output."""
    view = shown(job)
    del view["output"], view["output_expired"], view["queue"]
    return view


def ended(job: StoredJob, end: EndsAs, cost_nano: int, at: float) -> dict[str, Any]:
    """A job whose end is about to be said."""
    answer: JobAnswer | None = read_answer(job.answer) if end.state == "succeeded" else None
    return {
        **listed(job),
        "state": end.state,
        "ended_at": iso(at, "milliseconds"),
        "error": _error(end.fault),
        "cost_usd": usd(cost_nano),
        "output": output_of(answer),
    }
