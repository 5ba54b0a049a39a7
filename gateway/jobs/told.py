"""Who is told of a job's end, and what: a message for the outbox. Pure."""

from __future__ import annotations

from urllib.parse import urlsplit

import msgspec

from gateway.events.bodies import message
from gateway.jobs.outcomes import EndsAs
from gateway.jobs.views import ended
from gateway.policy.sections.webhooks import JOBS
from gateway.storage.jobs.base import StoredJob
from gateway.storage.outbox import Message


def receiver_of(job: StoredJob) -> str:
    """Its name in the outbox: one for each key and host, so that one which hangs holds up no
    other."""
    host = (urlsplit(job.webhook).hostname or "").lower()
    return f"{JOBS}{job.key_id}:{host}"


def message_id(job_id: str) -> str:
    """The same at every attempt, and for whoever ends the job."""
    return f"{job_id}_ended"


def told(job: StoredJob, end: EndsAs, cost_nano: int, at: float) -> Message:
    """The job as ``GET /v1/jobs/{id}`` has it; one that is too large without its output, which is
    said."""
    identity = {"id": job.id, "state": end.state, "model": job.model}
    made = message(
        message_id(job.id),
        receiver_of(job),
        f"job.{end.state}",
        ended(job, end, cost_nano, at),
        at,
        identity,
    )
    return msgspec.structs.replace(made, url=job.webhook)
