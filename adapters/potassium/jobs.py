"""Background calls that outlive their caller: handed over, asked about by a handle, stopped.

For servers that name a background call: this project's runtime does, under the call's own id, so
that a call handed over twice runs once. It keeps its last results in memory and says neither when
a call began nor when it ended, so its time is counted until it is first seen to have ended.
Potassium itself names nothing: a job there has begun and can never be asked about.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from adapters.errors import BackendError, FailureClass
from adapters.http.api import Api
from adapters.http.response import Response
from adapters.polling import unanswered
from adapters.potassium.api import Answered, job_of, output_of, path_of
from adapters.types import Call, Handle, JobState, Reply, Usage

Ask = Callable[[str, str], Awaitable[Response]]
"""Of a method and a path."""
_UNKNOWN = "The server no longer knows the job."


class BackgroundJobs:
    """The background calls of a server that names them. ``ask`` makes a request of it; any status
    is an answer. Raises BackendError."""

    def __init__(self, ask: Ask, api: Api) -> None:
        self._ask = ask
        self._api = api
        self._clock = api.clock

    def taken(self, call: Call, response: Response) -> Handle:
        """What the answer of a submit says. Raises AMBIGUOUS where it names no job."""
        if response.status not in (200, 202):
            raise self._api.refusal(response)
        job = job_of(response.body)
        if not job:
            raise BackendError(
                FailureClass.AMBIGUOUS, "The server began the call and did not name it."
            )
        return Handle(job=job, call=call.id, task=call.task, submitted=self._clock.time())

    async def poll(self, handle: Handle) -> JobState:
        answered = await self._answered(handle)
        if answered is None:
            return JobState(status="running")
        usage = Usage(exec_s=max(0.0, self._clock.time() - handle.submitted))
        output = output_of(answered, usage, self._api.secrets)
        return JobState(status="done", reply=Reply(body=output, usage=usage))

    async def stop(self, handle: Handle) -> Usage | None:
        response = await self._ask("POST", path_of(handle.job) + "/cancel")
        if response.status not in (200, 404):
            raise unanswered(self._api.refusal(response))
        return None

    async def _answered(self, handle: Handle) -> Answered | None:
        """None while it runs. Raises TIMEOUT of a job that is not known, and no failure that
        would be read as the job's own."""
        try:
            response = await self._ask("GET", path_of(handle.job))
            if response.status == 200:
                return Answered.read(response.body)
        except BackendError as error:
            raise unanswered(error) from None
        if response.status == 404:
            raise BackendError(FailureClass.TIMEOUT, _UNKNOWN)
        raise unanswered(self._api.refusal(response))
