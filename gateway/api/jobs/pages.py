"""The paths of /v1/jobs."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import msgspec

from gateway.api.answers.job_answers import jobs_of, respond_accepted
from gateway.api.answers.relay import STREAM_HEADERS
from gateway.api.jobs.job_requests import (
    asked_again,
    asked_job,
    jobs_query,
    last_event_id,
    wait_of,
)
from gateway.api.requests.bodies import read_body
from gateway.api.requests.queries import query_of
from gateway.api.requests.request import Receive, RequestContext, Scope, Send, only, respond_json
from gateway.jobs.deliveries import deliveries_of, tell_again
from gateway.jobs.following import JobFollower
from gateway.jobs.jobs import Jobs
from gateway.jobs.views import listed
from gateway.service import Gateway
from gateway.storage.base import StorageUnavailable
from gateway.storage.jobs.base import StoredJob
from gateway.storage.jobs.states import ENDED
from gateway.storage.outbox import Outbox
from gateway.types import ApiError

_NOTHING: frozenset[str] = frozenset()


class JobsEndpoint:
    """POST and GET /v1/jobs."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        context: RequestContext = scope["context"]
        if scope["method"] == "POST":
            await self._accept(context, scope, receive, send)
            return
        only("GET", scope)
        jobs = jobs_of(self._gateway)
        query = jobs_query(scope, context.principal)
        found = await jobs.store.find(query)
        page = {
            "object": "list",
            "data": [listed(job) for job in found],
            "has_more": len(found) == query.most,
            "last_id": found[-1].id if found else None,
        }
        await respond_json(send, context, page)

    async def _accept(
        self, context: RequestContext, scope: Scope, receive: Receive, send: Send
    ) -> None:
        query_of(scope, _NOTHING)
        jobs = jobs_of(self._gateway)
        body = await read_body(self._gateway, context, receive)
        id = await jobs.accept(asked_job(self._gateway, context, body))
        job = await jobs.store.get(id)
        assert job is not None
        await respond_accepted(send, context, jobs, job, preferred=False)


class _Asked(msgspec.Struct, frozen=True):
    """A request below the path of one job, which its key may see."""

    gateway: Gateway
    context: RequestContext
    receive: Receive
    send: Send
    jobs: Jobs
    job: StoredJob
    parameters: dict[str, str]
    """Of the query; only those that the path takes."""

    async def respond(self, value: object) -> None:
        await respond_json(self.send, self.context, value)

    @property
    def outbox(self) -> Outbox:
        if self.gateway.notices is None:
            raise StorageUnavailable("this gateway has no outbox")
        return self.gateway.notices.outbox


class OneJobEndpoint:
    """A path of /v1/jobs/{id}: ``method`` alone, with ``takes`` as the query's parameters, of a job
    that the key may see."""

    def __init__(
        self,
        gateway: Gateway,
        answer: Callable[[_Asked], Awaitable[None]],
        method: str = "GET",
        takes: frozenset[str] = _NOTHING,
    ) -> None:
        self._gateway = gateway
        self._answer = answer
        self._method = method
        self._takes = takes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        context: RequestContext = scope["context"]
        only(self._method, scope)
        parameters = query_of(scope, self._takes)
        jobs = jobs_of(self._gateway)
        job = await own_job(jobs, context, scope)
        await self._answer(_Asked(self._gateway, context, receive, send, jobs, job, parameters))


def paths_of(gateway: Gateway) -> dict[str, OneJobEndpoint]:
    """What follows /v1/jobs/{id}, and who answers."""
    return {
        "": OneJobEndpoint(gateway, _show, takes=frozenset(("wait",))),
        "/cancel": OneJobEndpoint(gateway, _cancel, "POST"),
        "/retry": OneJobEndpoint(gateway, _retry, "POST"),
        "/events": OneJobEndpoint(gateway, _follow),
        "/deliveries": OneJobEndpoint(gateway, _deliveries),
        "/redeliver": OneJobEndpoint(gateway, _redeliver, "POST"),
    }


async def _show(asked: _Asked) -> None:
    """The job; with ``?wait=30s`` at its end, or when that is over."""
    job = asked.job
    if waits_s := wait_of(asked.parameters):
        job = await asked.jobs.ended(job.id, waits_s) or job
    await asked.respond(await asked.jobs.view(job))


async def _cancel(asked: _Asked) -> None:
    """Of a job that has ended nothing changes."""
    jobs, job = asked.jobs, asked.job
    await jobs.worker.cancel(job.id)
    job = await jobs.ended(job.id, _CANCEL_S) or job
    await asked.respond(await jobs.view(job))


async def _retry(asked: _Asked) -> None:
    """The same once more, as another job. Raises ApiError 409 for one that has not ended, or has
    succeeded."""
    jobs, job, context = asked.jobs, asked.job, asked.context
    if job.state not in ENDED or job.state == "succeeded":
        raise ApiError(
            409,
            "job_not_failed",
            f"The job is {job.state}: only one that is failed, canceled or expired is begun again.",
            headers={"x-should-retry": "false"},
        )
    again = asked_again(asked.gateway.active, job, context.principal)
    begun = await jobs.store.get(await jobs.accept(again))
    assert begun is not None
    await respond_accepted(asked.send, context, jobs, begun, preferred=False)


async def _follow(asked: _Asked) -> None:
    """What happens to a job, as server-sent events, to its end. Resumes after ``Last-Event-ID``."""
    last = last_event_id(asked.context)
    follower = JobFollower(asked.jobs, asked.gateway.clock, asked.job.id, last)
    sending = asyncio.ensure_future(_send_events(follower, asked.context, asked.send))
    listening = asyncio.ensure_future(_listen(asked.receive))
    try:
        await asyncio.wait((sending, listening), return_when=asyncio.FIRST_COMPLETED)
    finally:
        listening.cancel()
        if not sending.done():
            sending.cancel()
    await asyncio.wait((sending, listening))
    if not sending.cancelled():
        sending.result()


async def _deliveries(asked: _Asked) -> None:
    """What came of telling its end."""
    await asked.respond(await deliveries_of(asked.outbox, asked.job))


async def _redeliver(asked: _Asked) -> None:
    """Its end is told once more."""
    await asked.respond(await tell_again(asked.outbox, asked.job))


async def _send_events(follower: JobFollower, context: RequestContext, send: Send) -> None:
    context.begun = True
    headers = [*STREAM_HEADERS, (b"x-request-id", context.request_id.encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    async for frame in follower.frames():
        await send({"type": "http.response.body", "body": frame, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def _listen(receive: Receive) -> None:
    """Returns when the client has gone."""
    while (await receive())["type"] != "http.disconnect":
        pass


_CANCEL_S = 5.0
"""How long a cancellation waits for the platform, before its caller is told how things stand."""


async def own_job(jobs: Jobs, context: RequestContext, scope: Scope) -> StoredJob:
    """The job that the path names, where the key may see it. Raises ApiError 404."""
    id: str = scope["path_params"]["job"]
    job = await jobs.store.get(id) if id.startswith("job_") else None
    principal = context.principal
    if job is None or (principal.role != "admin" and job.user != principal.user):
        raise ApiError(
            404,
            "job_not_found",
            "There is no such job of yours. A job is forgotten some days after its end; GET /usage "
            "still has what it has cost.",
            param="id",
        )
    return job
