"""The paths below /runpod/v2/{endpoint}, which is a model, or a backend that serves one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import msgspec

from gateway.api.jobs.job_requests import asked_again
from gateway.api.requests.door import Door, bare_key
from gateway.api.routed_paths import RoutedPath
from gateway.backends.live import LiveBackend
from gateway.doors.requests.asking import Wanted, accepted, read_body_as
from gateway.doors.requests.named import name_meant
from gateway.doors.requests.pages import DoorRequest, Handler, pages
from gateway.doors.requests.waiting import until_ended_or_stopped
from gateway.doors.runpod.requests import (
    DECODER,
    call_of,
    execution_timeout_s,
    ttl_s,
    wait_s,
)
from gateway.doors.runpod.views import DIALECT, parts_of, shown, state_of, told
from gateway.jobs.records import JobDialect, read_request
from gateway.service import Gateway
from gateway.storage.jobs.base import JobsQuery, StoredJob
from gateway.storage.jobs.states import ENDED
from gateway.types import ApiError

DOOR = Door(key=bare_key, told=told)

_CANCEL_S = 2.5
"""How long a cancellation waits for the platform: the client gives up after three."""
_STREAM_S = 1.0
_COUNTED = 1_000
"""Jobs of a caller, the newest, that /health counts."""
_PURGED_AT_ONCE = 100
_TOLD = "streamed"
"""The event of a job whose output somebody has been given by /stream."""


def routes(gateway: Gateway) -> list[RoutedPath]:
    """What lies below the door."""
    base = "/runpod/v2/{endpoint:path}"
    table: dict[str, Mapping[str, Handler]] = {
        base + "/run": {"POST": _run},
        base + "/runsync": {"POST": _run_sync},
        base + "/status/{job}": {"GET": _status, "POST": _status},
        base + "/stream/{job}": {"GET": _stream, "POST": _stream},
        base + "/cancel/{job}": {"POST": _cancel},
        base + "/retry/{job}": {"POST": _retry},
        base + "/purge-queue": {"POST": _purge},
        base + "/health": {"GET": _health},
    }
    return pages(gateway, table)


async def _run(asked: DoorRequest) -> None:
    job = await _submitted(asked)
    await asked.respond({"id": job.id, "status": state_of(job)})


async def _run_sync(asked: DoorRequest) -> None:
    """Of a caller who hangs up before it was told the id, the job is canceled."""
    longest_s = wait_s(asked.scope.get("query_string", b""))
    job = await _submitted(asked)
    if job.state not in ENDED:
        job = await until_ended_or_stopped(asked.jobs, job, longest_s, asked.receive)
    await asked.shown_whole(job, shown)


async def _submitted(asked: DoorRequest) -> StoredJob:
    gateway, context = asked.gateway, asked.context
    name = _name(asked)
    read = read_body_as(DECODER, await asked.body())
    spec = gateway.active.model(name, context.principal)
    wanted = Wanted(
        dialect=JobDialect(name=DIALECT, particulars={"endpoint": asked.named("endpoint")}),
        deadline_s=ttl_s(read.policy),
        most_run_s=execution_timeout_s(read.policy),
        webhook=read.webhook,
        priority="low" if read.policy.low_priority else None,
    )
    return await accepted(gateway, context, name, call_of(spec.task, read.input), wanted)


def _name(asked: DoorRequest) -> str:
    return name_meant(asked.gateway.active, asked.context.principal, asked.named("endpoint"))


async def _status(asked: DoorRequest) -> None:
    await asked.shown_whole(await _job(asked), shown)


async def _stream(asked: DoorRequest) -> None:
    """What is new since the last time: all of the output, once it is there. Two who ask share
    it, as they do at the platform; /status has it for both."""
    job = await _job(asked)
    jobs = asked.jobs
    if job.state not in ENDED:
        job = await jobs.ended(job.id, _STREAM_S) or job
    parts = parts_of(await jobs.whole(job))
    if parts and await _given(asked, job):
        parts = []
    await asked.respond({"status": state_of(job), "stream": [{"output": part} for part in parts]})


async def _given(asked: DoorRequest, job: StoredJob) -> bool:
    """Whether somebody has it already; else it is written down that somebody has it now."""
    store = asked.jobs.store
    if any(event.kind == _TOLD for event in await store.events(job.id, 0)):
        return True
    await store.note(job.id, _TOLD, "{}")
    return False


async def _cancel(asked: DoorRequest) -> None:
    job = await _job(asked)
    if job.state not in ENDED:
        await asked.jobs.worker.cancel(job.id)
        job = await asked.jobs.ended(job.id, _CANCEL_S) or job
    status = state_of(job) if job.state in ENDED else "CANCELLED"
    await asked.respond({"id": job.id, "status": status})


async def _retry(asked: DoorRequest) -> None:
    """The same once more, as another job. Raises ApiError 400 for one that has not failed."""
    job, context = await _job(asked), asked.context
    if state_of(job) not in ("FAILED", "TIMED_OUT"):
        raise ApiError(
            400,
            "job_not_failed",
            f"The job is {state_of(job)}: only one that is FAILED or TIMED_OUT is begun again.",
        )
    again = asked_again(asked.gateway.active, job, context.principal)
    id = await asked.jobs.accept(again)
    await asked.respond({"id": id, "status": "IN_QUEUE"})


async def _purge(asked: DoorRequest) -> None:
    """Cancels the caller's jobs that wait for the endpoint."""
    jobs, removed, query = asked.jobs, 0, _own(asked, _PURGED_AT_ONCE, waiting=True)
    while found := await jobs.store.find(query):
        for job in found:
            removed += await jobs.worker.cancel(job.id)
        query = msgspec.structs.replace(query, before=found[-1].id)
    await asked.respond({"removed": removed, "status": "completed"})


async def _health(asked: DoorRequest) -> None:
    """The caller's own jobs, and the workers of the endpoint's backends."""
    found = await asked.jobs.store.find(_own(asked, _COUNTED))
    states = Counter(state_of(job) for job in found)
    jobs = {
        "completed": states["COMPLETED"],
        "failed": states["FAILED"] + states["TIMED_OUT"],
        "inProgress": states["IN_PROGRESS"],
        "inQueue": states["IN_QUEUE"],
        "retried": 0,
    }
    active = asked.gateway.active
    spec = active.model(_name(asked), asked.context.principal)
    counts: Counter[str] = Counter(dict.fromkeys(_WORKERS, 0))
    for name in spec.backends:
        counts.update(_workers(active.backends[name]))
    await asked.respond({"jobs": jobs, "workers": counts})


_WORKERS = ("idle", "initializing", "ready", "running", "throttled", "unhealthy")


def _workers(backend: LiveBackend) -> dict[str, int]:
    running = backend.in_flight if backend.slots is None else min(backend.in_flight, backend.slots)
    if not backend.is_warm:
        return {"running": running, "unhealthy": int(backend.draining)}
    idle = max(0, (backend.slots or running + 1) - running)
    return {"idle": idle, "ready": idle, "running": running}


def _own(asked: DoorRequest, most: int, *, waiting: bool = False) -> JobsQuery:
    principal = asked.context.principal
    return JobsQuery(
        user=None if principal.role == "admin" else principal.user,
        states=("queued",) if waiting else (),
        model=asked.gateway.active.target(_name(asked), principal),
        most=most,
    )


async def _job(asked: DoorRequest) -> StoredJob:
    """Raises ApiError 404 for one of another endpoint, too."""
    job, endpoint = await asked.own_job(asked.named("job")), asked.named("endpoint")
    dialect = read_request(job.request).dialect
    asked_of = "" if dialect is None else dialect.particulars.get("endpoint", "")
    if endpoint not in (job.model, asked_of):
        raise ApiError(404, "job_not_found", f"The endpoint {endpoint!r} has no job {job.id}.")
    return job
