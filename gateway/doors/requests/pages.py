"""Paths with their methods, each of which is answered by a function."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec

from gateway.api.answers.job_answers import jobs_of
from gateway.api.requests.bodies import read_body
from gateway.api.requests.request import (
    Header,
    Receive,
    RequestContext,
    Scope,
    Send,
    respond_json,
)
from gateway.api.routed_paths import RoutedPath
from gateway.jobs.jobs import Jobs
from gateway.service import Gateway
from gateway.storage.jobs.base import StoredJob
from gateway.types import ApiError


class DoorRequest(msgspec.Struct, frozen=True):
    """A request of another protocol."""

    gateway: Gateway
    context: RequestContext
    scope: Scope
    receive: Receive
    send: Send

    @property
    def jobs(self) -> Jobs:
        """Raises ApiError 501 where there are none."""
        return jobs_of(self.gateway)

    def named(self, name: str) -> str:
        """A part of the path."""
        found: str = self.scope["path_params"][name]
        return found

    async def body(self) -> bytes:
        return await read_body(self.gateway, self.context, self.receive)

    async def respond(
        self, value: object, status: int = 200, headers: list[Header] | None = None
    ) -> None:
        await respond_json(self.send, self.context, value, status, headers)

    async def shown_whole(
        self, job: StoredJob, view: Callable[[StoredJob], dict[str, Any]], status: int = 200
    ) -> None:
        """Tells a job with its output, wherever that is kept."""
        await self.respond(view(await self.jobs.whole(job)), status)

    async def own_job(self, id: str) -> StoredJob:
        """Raises ApiError 404 where the caller has none of this id."""
        principal = self.context.principal
        job = await self.jobs.store.get(id) if id.startswith("job_") else None
        if job is None or (principal.role != "admin" and job.user != principal.user):
            raise ApiError(404, "job_not_found", f"There is no job {id[:80]!r} of yours.")
        return job


Handler = Callable[[DoorRequest], Awaitable[None]]


class DoorPage:
    """One path. Raises ApiError 405 for a method that it does not take."""

    def __init__(self, gateway: Gateway, by_method: Mapping[str, Handler]) -> None:
        self._gateway = gateway
        self._by_method = by_method

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        method = "GET" if scope["method"] == "HEAD" else scope["method"]
        handler = self._by_method.get(method)
        if handler is None:
            takes = ", ".join(self._by_method)
            raise ApiError(
                405,
                "method_not_allowed",
                f"{scope['path']} takes {takes}, not {method}.",
                headers={"Allow": takes},
            )
        await handler(DoorRequest(self._gateway, scope["context"], scope, receive, send))


def pages(gateway: Gateway, table: Mapping[str, Mapping[str, Handler]]) -> list[RoutedPath]:
    """``table``: path -> method -> who answers it."""
    return [RoutedPath(path, DoorPage(gateway, table[path])) for path in table]


def shown_only(value: dict[str, Any]) -> dict[str, Any]:
    """What is there of an object whose fields may be left out."""
    return {name: value[name] for name in value if value[name] is not None}
