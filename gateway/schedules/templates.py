"""What a policy says of the job or batch of a schedule -> what a caller would ask for."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from pathlib import Path

import msgspec

from adapters.regular_files import open_regular
from gateway.active_policy import ActivePolicy
from gateway.batches.batches import AskedBatch
from gateway.batches.feeding import LineCall
from gateway.files.files import Files, NewFile
from gateway.files.names import FILE
from gateway.jobs.accepting import AskedJob
from gateway.policy.sections.schedules import ScheduledBatch, ScheduledJob
from gateway.types import ApiError, Principal

TAG = "schedule"
"""Of each call that a schedule has begun, with its name; of a batch, in its metadata."""
_PIECE = 1 << 20

ReadInput = Callable[[ActivePolicy, Principal, str, bytes], LineCall]
"""The call that a job of a model makes of its input. Raises ApiError."""


def asked_job(
    name: str, job: ScheduledJob, read: ReadInput, active: ActivePolicy, principal: Principal
) -> AskedJob:
    """Raises ApiError 400, 403 and 404 where the model takes no such input, or not of this key."""
    call = read(active, principal, job.model, msgspec.json.encode(job.input))
    preferences = msgspec.structs.replace(call.preferences, priority=job.priority, tags={TAG: name})
    return AskedJob(
        model=call.model,
        task=call.task,
        body=call.body,
        principal=principal,
        preferences=preferences,
        sent=call.sent,
        declared=call.declared,
        deadline_s=job.deadline,
        keep_s=job.ttl,
    )


async def asked_batch(
    name: str, batch: ScheduledBatch, files: Files, principal: Principal
) -> AskedBatch:
    """Its input is stored where the policy names a path. Raises ApiError 404 where there is no such
    file, 413 where it is too large, and StorageUnavailable."""
    if batch.input.startswith(FILE):
        stored = (await files.own(batch.input, principal)).id
    else:
        stored = await _stored(Path(batch.input), files, principal)
    return AskedBatch(
        endpoint=batch.endpoint,
        input_file=stored,
        within=f"{batch.within:g}s",
        within_s=batch.within,
        budget_nano=batch.budget,
        metadata={TAG: name},
        principal=principal,
    )


async def _stored(path: Path, files: Files, principal: Principal) -> str:
    """A copy of the file, as it is now: its id."""
    new = NewFile(user=principal.user, key_id=principal.key_id, name=path.name, purpose="batch")
    try:
        with await asyncio.to_thread(open_regular, path) as file:
            async with files.incoming(new) as incoming:
                read = functools.partial(file.read, _PIECE)
                while piece := await asyncio.to_thread(read):
                    await incoming.write(piece)
    except OSError as error:
        raise ApiError(
            404,
            "no_input_file",
            f"{path} cannot be read: {error.strerror}.",
            param="input",
        ) from None
    return incoming.file.id
