"""What came of telling a job's end, and telling it once more: for whoever may see the job."""

from __future__ import annotations

from typing import Any

from gateway.events.requests import attempt_shown
from gateway.jobs.told import message_id, receiver_of
from gateway.money.text import iso_or_none
from gateway.storage.jobs.base import StoredJob
from gateway.storage.jobs.states import ENDED
from gateway.storage.outbox import Outbox
from gateway.types import ApiError

_MOST = 100
"""Attempts that are shown."""


async def deliveries_of(outbox: Outbox, job: StoredJob) -> dict[str, Any]:
    """The attempts, newest first, and since when the receiver is sent nothing. Raises ApiError 409
    for a job without a webhook, and StorageUnavailable."""
    receiver, id = _receiver(job), message_id(job.id)
    found = await outbox.deliveries(receiver, _MOST, id)
    return {
        "object": "list",
        "data": [attempt_shown(one) for one in found],
        "disabled_at": iso_or_none(await outbox.disabled_at(receiver), "seconds"),
    }


async def tell_again(outbox: Outbox, job: StoredJob) -> dict[str, Any]:
    """Sends the end once more, by the same id, whether or not it was taken; a receiver that was
    disabled is asked again, and gets all else that waits for it. Raises ApiError: 409 for a job
    without a webhook or an end, 404 where the message is kept no more; and StorageUnavailable."""
    receiver, id = _receiver(job), message_id(job.id)
    if job.state not in ENDED:
        raise ApiError(409, "job_not_ended", f"The job is {job.state}: there is nothing to tell.")
    if not await outbox.redeliver(receiver, id):
        raise ApiError(
            404,
            "message_not_found",
            "The message of this job's end is kept no more. GET /v1/jobs/{id} has what it said.",
        )
    if await outbox.disabled_at(receiver) is not None:
        await outbox.enable(receiver)
    return {"job": job.id, "id": id}


def _receiver(job: StoredJob) -> str:
    if not job.webhook:
        raise ApiError(409, "no_webhook", "The job names no webhook, so its end is told nowhere.")
    return receiver_of(job)
