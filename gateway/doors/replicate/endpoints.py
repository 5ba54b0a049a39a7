"""The paths below /replicate/v1."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qs

import msgspec

from gateway.api.requests.door import Door, bare_key
from gateway.api.routed_paths import RoutedPath
from gateway.doors.replicate import files
from gateway.doors.replicate.models import (
    deployment_shown,
    full_name,
    model_shown,
    name_of,
    name_of_version,
    version_of,
    version_shown,
)
from gateway.doors.replicate.prompts import chat_of, is_prompt
from gateway.doors.replicate.requests import (
    DECODER,
    PredictionBody,
    lives_s,
    waits_s,
    webhook_of,
)
from gateway.doors.replicate.streams import follow
from gateway.doors.replicate.views import DIALECT, PROMPT, shown, told
from gateway.doors.requests.asking import Wanted, accepted, decoded, read_body_as, without_model
from gateway.doors.requests.pages import DoorRequest, Handler, pages
from gateway.doors.requests.waiting import until_ended
from gateway.jobs.records import JobDialect
from gateway.service import Gateway
from gateway.storage.jobs.base import JobsQuery, StoredJob
from gateway.storage.jobs.states import ENDED
from gateway.types import ApiError

DOOR = Door(key=bare_key, told=told)
_ROOT = "/replicate/v1"
_PAGE = 25
_CANCEL_S = 5.0


def routes(gateway: Gateway) -> list[RoutedPath]:
    """What lies below the door."""
    one, model = _ROOT + "/predictions/{job}", _ROOT + "/models/{owner}/{name}"
    deployment = _ROOT + "/deployments/{owner}/{name}"
    table: dict[str, Mapping[str, Handler]] = {
        _ROOT + "/predictions": {"POST": _create, "GET": _list},
        one: {"GET": _show},
        one + "/cancel": {"POST": _cancel},
        one + "/stream": {"GET": _stream},
        _ROOT + "/models": {"GET": _models},
        model: {"GET": _model},
        model + "/predictions": {"POST": _create_of_model},
        model + "/versions": {"GET": _versions},
        model + "/versions/{version}": {"GET": _version},
        _ROOT + "/deployments": {"GET": _deployments},
        deployment: {"GET": _deployment},
        deployment + "/predictions": {"POST": _create_of_model},
        _ROOT + "/account": {"GET": _account},
        _ROOT + "/files": {"POST": _create_file, "GET": _list_files},
        _ROOT + "/files/{file}": {"GET": _show_file, "DELETE": files.delete},
    }
    return pages(gateway, table)


# --- predictions -----------------------------------------------------------------------------


async def _create(asked: DoorRequest) -> None:
    body = read_body_as(DECODER, await asked.body())
    given = body.version or body.model
    if given is None:
        raise ApiError(400, "missing_field", "'version' is missing.", param="version")
    active, principal = asked.gateway.active, asked.context.principal
    name = name_of_version(active, principal, given)
    whole = given.partition(":")[0]
    if "/" not in whole:
        whole = full_name(active.target(name, principal))
    await _created(asked, body, name, whole)


async def _create_of_model(asked: DoorRequest) -> None:
    body = read_body_as(DECODER, await asked.body())
    await _created(asked, body, _name(asked), _whole(asked))


async def _created(asked: DoorRequest, body: PredictionBody, name: str, whole: str) -> None:
    """Held for as long as ``Prefer: wait`` says; of a caller who hangs up the prediction goes on,
    as at the platform: the list has it."""
    headers = asked.context.headers
    longest_s = waits_s(headers)
    active, principal = asked.gateway.active, asked.context.principal
    spec, model = active.model(name, principal), active.target(name, principal)
    base = base_of(asked)
    value = files.by_reference(decoded(body.input), base)
    particulars = {"base": base, "model": whole, "version": version_of(model)}
    if spec.task == "infer":
        given = msgspec.json.encode(value)
    elif spec.task == "chat" and is_prompt(value):
        particulars[PROMPT] = bytes(body.input).decode()
        given = msgspec.json.encode(chat_of(value))
    else:
        given = without_model(value) if isinstance(value, dict) else msgspec.json.encode(value)
    wanted = Wanted(
        dialect=JobDialect(name=DIALECT, particulars=particulars),
        deadline_s=lives_s(headers),
        webhook=webhook_of(body),
    )
    job = await accepted(asked.gateway, asked.context, name, given, wanted)
    if longest_s:
        job = await until_ended(asked.jobs, job, longest_s, asked.receive)
    held = longest_s and job.state not in ENDED
    await asked.shown_whole(job, _still_starting if held else shown, 201)


def _still_starting(job: StoredJob) -> dict[str, Any]:
    """Its client takes any other state of an answer that was held for an end."""
    return {**shown(job), "status": "starting"}


async def _show(asked: DoorRequest) -> None:
    await asked.shown_whole(await asked.own_job(asked.named("job")), shown)


async def _cancel(asked: DoorRequest) -> None:
    job = await asked.own_job(asked.named("job"))
    if job.state not in ENDED:
        await asked.jobs.worker.cancel(job.id)
        job = await asked.jobs.ended(job.id, _CANCEL_S) or job
    await asked.shown_whole(job, shown)


async def _stream(asked: DoorRequest) -> None:
    await follow(asked, await asked.own_job(asked.named("job")))


async def _list(asked: DoorRequest) -> None:
    principal, store = asked.context.principal, asked.jobs.store
    cursor = parse_qs(asked.scope.get("query_string", b"").decode("latin-1")).get("cursor")
    query = JobsQuery(
        user=None if principal.role == "admin" else principal.user,
        before=cursor[-1] if cursor else None,
        most=_PAGE,
    )
    found = await store.find(query)
    whole = [await store.get(job.id) for job in found]
    results = [shown(job) for job in whole if job is not None]
    more = f"{base_of(asked)}/predictions?cursor={found[-1].id}" if len(found) == _PAGE else None
    await asked.respond({"previous": None, "next": more, "results": results})


# --- models ----------------------------------------------------------------------------------


async def _models(asked: DoorRequest) -> None:
    base = base_of(asked)
    await _all(asked, lambda whole, model: model_shown(whole, model, base))


async def _deployments(asked: DoorRequest) -> None:
    await _all(asked, deployment_shown)


async def _all(asked: DoorRequest, view: Callable[[str, str], dict[str, Any]]) -> None:
    active = asked.gateway.active
    names = active.models_of(asked.context.principal)
    results = [
        view(full_name(name), active.target(name, asked.context.principal)) for name in names
    ]
    await asked.respond({"previous": None, "next": None, "results": results})


async def _model(asked: DoorRequest) -> None:
    await asked.respond(model_shown(_whole(asked), _named(asked), base_of(asked)))


async def _deployment(asked: DoorRequest) -> None:
    await asked.respond(deployment_shown(_whole(asked), _named(asked)))


async def _versions(asked: DoorRequest) -> None:
    view = version_shown(_named(asked))
    await asked.respond({"previous": None, "next": None, "results": [view]})


async def _version(asked: DoorRequest) -> None:
    """A version by another id is one by which the policy knows the same model."""
    model, id = _named(asked), asked.named("version")
    active, principal = asked.gateway.active, asked.context.principal
    if active.target(name_of_version(active, principal, id), principal) != model:
        raise ApiError(404, "model_not_found", f"{full_name(model)} has no version {id[:80]!r}.")
    await asked.respond({**version_shown(model), "id": id})


async def _create_file(asked: DoorRequest) -> None:
    await files.create(asked, base_of(asked))


async def _list_files(asked: DoorRequest) -> None:
    await files.find(asked, base_of(asked))


async def _show_file(asked: DoorRequest) -> None:
    await files.show(asked, base_of(asked))


async def _account(asked: DoorRequest) -> None:
    user = asked.context.principal.user
    await asked.respond({"type": "user", "username": user, "name": user, "github_url": None})


def _name(asked: DoorRequest) -> str:
    active, principal = asked.gateway.active, asked.context.principal
    return name_of(active, principal, asked.named("owner"), asked.named("name"))


def _named(asked: DoorRequest) -> str:
    """The model that the name stands for."""
    return asked.gateway.active.target(_name(asked), asked.context.principal)


def _whole(asked: DoorRequest) -> str:
    return f"{asked.named('owner')}/{asked.named('name')}"


def base_of(asked: DoorRequest) -> str:
    """Where this caller reaches the door: told to nobody but him."""
    headers = asked.context.headers
    proto = headers.get(b"x-forwarded-proto", b"").strip().lower().decode("latin-1")
    scheme = proto if proto in ("http", "https") else asked.scope.get("scheme", "http")
    return f"{scheme}://{headers.get(b'host', b'').decode('latin-1')}{_ROOT}"
