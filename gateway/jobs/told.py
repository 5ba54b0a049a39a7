"""Who is told of a job's end, and what: a message for the outbox. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

import msgspec

from gateway.events.bodies import MOST_BYTES, message
from gateway.jobs.outcomes import EndsAs
from gateway.jobs.records import read_request, to_text
from gateway.jobs.views import ended
from gateway.storage.jobs.base import StoredJob
from gateway.storage.outbox import Message
from gateway.types import JOB_RECEIVERS

Views = Mapping[str, Callable[[StoredJob], dict[str, Any]]]
"""The name of another protocol -> a job as its callers see it."""
_NO_VIEWS: Views = MappingProxyType({})


def receiver_of(job: StoredJob) -> str:
    """Its name in the outbox: one for each key and host, so that one which hangs holds up no
    other."""
    host = (urlsplit(job.webhook).hostname or "").lower()
    return f"{JOB_RECEIVERS}{job.key_id}:{host}"


def message_id(job_id: str) -> str:
    """The same at every attempt, and for whoever ends the job."""
    return f"{job_id}_ended"


def told(
    job: StoredJob, end: EndsAs, cost_nano: int, at: float, views: Views = _NO_VIEWS
) -> Message:
    """The job as ``GET /v1/jobs/{id}`` has it, or as the protocol shows it by which it has come;
    one that is too large without its output, which is said."""
    dialect = read_request(job.request).dialect if views else None
    if dialect is not None and dialect.name in views:
        over = msgspec.structs.replace(
            job,
            state=end.state,
            ended_at=at,
            cost_nano=cost_nano,
            error="" if end.fault is None else to_text(end.fault),
        )
        return _as_shown(over, views[dialect.name](over))
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


def _as_shown(job: StoredJob, shown: dict[str, Any]) -> Message:
    """What a protocol shows, and nothing around it."""
    body = msgspec.json.encode(shown)
    if len(body) > MOST_BYTES:
        less = {**shown, "input": None, "output": None, "too_large": True, "bytes": len(body)}
        body = msgspec.json.encode(less)
    return Message(
        id=message_id(job.id),
        endpoint=receiver_of(job),
        topic=f"job.{job.state}",
        body=body.decode(),
        url=job.webhook,
    )
