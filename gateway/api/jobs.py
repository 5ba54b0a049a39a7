"""The paths of /v1/jobs."""

from __future__ import annotations

import asyncio

from gateway.api.bodies import read_body
from gateway.api.job_answers import jobs_of, respond_accepted
from gateway.api.job_requests import (
    asked_again,
    asked_job,
    jobs_query,
    last_event_id,
    query_of,
    wait_of,
)
from gateway.api.relay import STREAM_HEADERS
from gateway.api.request import Receive, RequestContext, Scope, Send, only, respond_json
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


class JobEndpoint:
    """GET /v1/jobs/{id}, with ``?wait=30s``."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        context: RequestContext = scope["context"]
        only("GET", scope)
        waits_s = wait_of(scope)
        jobs = jobs_of(self._gateway)
        job = await own_job(jobs, context, scope)
        if waits_s:
            job = await jobs.ended(job.id, waits_s) or job
        await respond_json(send, context, await jobs.view(job))


class CancelEndpoint:
    """POST /v1/jobs/{id}/cancel. Of one that has ended nothing changes."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        context: RequestContext = scope["context"]
        only("POST", scope)
        query_of(scope, _NOTHING)
        jobs = jobs_of(self._gateway)
        job = await own_job(jobs, context, scope)
        await jobs.worker.cancel(job.id)
        job = await jobs.ended(job.id, _CANCEL_S) or job
        await respond_json(send, context, await jobs.view(job))


class RetryEndpoint:
    """POST /v1/jobs/{id}/retry: the same once more, as another job. Raises ApiError 409 for one
    that has not ended, or has succeeded."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        context: RequestContext = scope["context"]
        only("POST", scope)
        query_of(scope, _NOTHING)
        jobs = jobs_of(self._gateway)
        job = await own_job(jobs, context, scope)
        if job.state not in ENDED or job.state == "succeeded":
            raise ApiError(
                409,
                "job_not_failed",
                f"The job is {job.state}: only one that is failed, canceled or expired is begun "
                "again.",
                headers={"x-should-retry": "false"},
            )
        asked = asked_again(job, context.principal)
        self._gateway.active.model(asked.model, context.principal)
        again = await jobs.store.get(await jobs.accept(asked))
        assert again is not None
        await respond_accepted(send, context, jobs, again, preferred=False)


class JobEventsEndpoint:
    """GET /v1/jobs/{id}/events: what happens to a job, as server-sent events, to its end. Resumes
    after ``Last-Event-ID``."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        context: RequestContext = scope["context"]
        only("GET", scope)
        query_of(scope, _NOTHING)
        jobs = jobs_of(self._gateway)
        job = await own_job(jobs, context, scope)
        follower = JobFollower(jobs, self._gateway.clock, job.id, last_event_id(context))
        sending = asyncio.ensure_future(_send_events(follower, context, send))
        listening = asyncio.ensure_future(_listen(receive))
        try:
            await asyncio.wait((sending, listening), return_when=asyncio.FIRST_COMPLETED)
        finally:
            listening.cancel()
            if not sending.done():
                sending.cancel()
        await asyncio.wait((sending, listening))
        if not sending.cancelled():
            sending.result()


class DeliveriesEndpoint:
    """GET /v1/jobs/{id}/deliveries: what came of telling its end."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        context: RequestContext = scope["context"]
        only("GET", scope)
        query_of(scope, _NOTHING)
        job = await own_job(jobs_of(self._gateway), context, scope)
        await respond_json(send, context, await deliveries_of(_outbox(self._gateway), job))


class RedeliverEndpoint:
    """POST /v1/jobs/{id}/redeliver: its end is told once more."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        context: RequestContext = scope["context"]
        only("POST", scope)
        query_of(scope, _NOTHING)
        job = await own_job(jobs_of(self._gateway), context, scope)
        await respond_json(send, context, await tell_again(_outbox(self._gateway), job))


def _outbox(gateway: Gateway) -> Outbox:
    if gateway.notices is None:
        raise StorageUnavailable("this gateway has no outbox")
    return gateway.notices.outbox


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
