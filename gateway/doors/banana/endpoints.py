"""The paths below /banana/{model}, which is the URL of a project.

A call has the id that its client gives it, the same each time that it is sent again: it is made
once, however often it comes.
"""

from __future__ import annotations

from collections.abc import Mapping

from gateway.api.answers.job_answers import checked_key, respond_ended
from gateway.api.requests.bodies import parse_json
from gateway.api.requests.door import Door
from gateway.api.routed_paths import RoutedPath
from gateway.doors.banana.told import told
from gateway.doors.requests.asking import Wanted, accepted, without_model
from gateway.doors.requests.named import name_meant
from gateway.doors.requests.pages import DoorRequest, Handler, pages
from gateway.doors.requests.waiting import until_ended_or_stopped
from gateway.jobs.records import JobDialect
from gateway.service import Gateway
from gateway.storage.jobs.states import ENDED
from gateway.types import ApiError

DIALECT = "banana"
_KEY = b"x-banana-api-key"
_REQUEST_ID = b"x-banana-request-id"
_ROOT = "/banana/{model:path}"


def _key(headers: Mapping[bytes, bytes]) -> str:
    return headers.get(_KEY, b"").strip().decode("latin-1")


DOOR = Door(key=_key, told=told)


def routes(gateway: Gateway) -> list[RoutedPath]:
    """What lies below the door."""
    table: dict[str, Mapping[str, Handler]] = {
        _ROOT + "/_k/warmup": {"POST": _warmup, "GET": _warmup},
        _ROOT + "/_k/status": {"GET": _warmup},
        _ROOT: {"POST": _call},
    }
    return pages(gateway, table)


async def _call(asked: DoorRequest) -> None:
    """Waits to its end; of a caller who hangs up the call is canceled. Raises ApiError."""
    gateway, context = asked.gateway, asked.context
    active, name = gateway.active, _name(asked)
    body = await asked.body()
    value = parse_json(body)
    spec = active.model(name, context.principal)
    if spec.task != "infer" and isinstance(value, dict):
        body = without_model(value)
    longest_s = active.longest(active.target(name, context.principal))
    wanted = Wanted(
        dialect=JobDialect(name=DIALECT),
        deadline_s=longest_s,
        idempotency_key=_request_id(context.headers),
    )
    job = await accepted(gateway, context, name, body, wanted)
    if job.state not in ENDED:
        job = await until_ended_or_stopped(asked.jobs, job, longest_s, asked.receive)
    if job.state not in ENDED:
        raise ApiError(504, "backend_timeout", "The call has not ended in time.")
    await respond_ended(asked.send, context, await asked.jobs.whole(job), "")


def _request_id(headers: Mapping[bytes, bytes]) -> str:
    text = headers.get(_REQUEST_ID, b"").decode("latin-1").strip()
    return checked_key(f"banana:{text}", "X-BANANA-REQUEST-ID") if text else ""


async def _warmup(asked: DoorRequest) -> None:
    """Whether a call would find a warm worker. It wakes none: the policy says who is kept warm."""
    active = asked.gateway.active
    spec = active.model(_name(asked), asked.context.principal)
    warm = any(active.backends[name].is_warm for name in spec.backends)
    await asked.respond({"warm": warm})


def _name(asked: DoorRequest) -> str:
    """A route of a project, such as /generate, is a model called project/generate."""
    name = asked.named("model").strip("/")
    return name_meant(asked.gateway.active, asked.context.principal, name)
