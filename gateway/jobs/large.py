"""What is too large to travel inside of a job: files that its input names, and results above a
bound, which lie with the stored files of its user."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import NamedTuple

import msgspec

from adapters.types import JSON_TYPE, Reply, Task
from gateway.backends.demands import Demands
from gateway.clock import Clock
from gateway.files.files import Files, NewFile
from gateway.files.inputs import FileInputs
from gateway.jobs.records import JobAnswer, JobRequest, answer_of
from gateway.money.inputs import InputParts
from gateway.policy.sections.store import FileSettings
from gateway.storage.base import StorageUnavailable
from gateway.storage.jobs.base import StoredJob

log = logging.getLogger("spillgate")

_AGAIN_S = 1.0


class ResolvedBody(NamedTuple):
    """A job's call, as far as it decides what it needs."""

    model: str
    task: Task
    body: bytes
    parts: InputParts


class LargeBodies:
    """Of the jobs of one gateway."""

    def __init__(
        self,
        files: Files,
        inputs: FileInputs,
        settings: Callable[[], FileSettings],
        clock: Clock,
    ) -> None:
        self.inputs = inputs
        self._files = files
        self._settings = settings
        self._clock = clock

    async def request(self, request: JobRequest, demands: Demands) -> JobRequest:
        """With the files that it names, and what it holds and needs then. Raises ApiError, and
        StorageUnavailable."""
        given = request.call_body
        if request.content_type != JSON_TYPE:
            return request
        body = await self.inputs.resolved(request.principal, given)
        if body is given:
            return request
        parts, wanted = self.inputs.parts(request.task, body), request.preferences
        wanted = msgspec.structs.replace(wanted, parts=parts)
        if request.model in demands.models:
            asked = ResolvedBody(request.model, request.task, body, parts)
            needs = demands.needs(asked, wanted.needs.abilities)
            wanted = msgspec.structs.replace(wanted, needs=needs)
        return msgspec.structs.replace(request, body=body.decode(), preferences=wanted)

    async def surely(self, job: StoredJob, reply: Reply) -> JobAnswer:
        """What is kept of a reply, as soon as there is a place for it."""
        while True:
            try:
                return await self.answer(job, reply)
            except StorageUnavailable as unavailable:
                log.error("job %s: %s; its result waits", job.id, unavailable)
                await self._clock.sleep(_AGAIN_S)

    async def answer(self, job: StoredJob, reply: Reply) -> JobAnswer:
        """The same. Raises StorageUnavailable."""
        size = len(reply.body)
        if size <= self._settings().inline:
            return answer_of(reply)
        left_s = max(0.0, job.deadline - self._clock.time())
        new = NewFile(
            user=job.user,
            key_id=job.key_id,
            name=f"{job.id}.json" if "json" in reply.content_type else job.id,
            purpose="job_output",
            content_type=reply.content_type,
            keep_s=left_s + job.keep_s,
            size=size,
        )
        async with self._files.incoming(new, of_ours=True) as out:
            await out.write(reply.body)
        return JobAnswer(
            file=out.file.id,
            size=size,
            content_type=reply.content_type,
            status=reply.status,
            usage=reply.usage,
        )

    async def whole(self, answer: JobAnswer) -> JobAnswer | None:
        """With what lies in a file; None where that is gone. Raises StorageUnavailable."""
        if not answer.file:
            return answer
        try:
            async with self._files.read(answer.file) as pieces:
                body = b"".join([piece async for piece in pieces])
        except LookupError:
            return None
        return answer_of(msgspec.structs.replace(answer.reply(), body=body))
