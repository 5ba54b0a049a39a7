"""What a form of the console does: the same as the route of the API that it stands for, with the
same entries in the audit log."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec

from gateway.api.admin.audited import ACTS, audited
from gateway.api.admin.endpoint import Handler
from gateway.console.visits.visit import Visit
from gateway.types import Role

_ADMINS: tuple[Role, ...] = ("admin",)


async def done(
    visit: Visit,
    route: tuple[str, str],
    handler: Handler,
    params: Mapping[str, str],
    body: object = None,
    query: str = "",
) -> Any:
    """What the route answers. ``route`` is its method and path; ``body`` becomes JSON, and bytes
    stay as they are; ``query`` is of its address. For admins alone. Raises ApiError and
    StorageUnavailable as it does."""
    visit.context.require(_ADMINS)
    sent = body if isinstance(body, bytes) else b"" if body is None else msgspec.json.encode(body)
    scope = {**visit.scope, "path_params": dict(params), "query_string": query.encode()}
    run = functools.partial(handler, visit.gateway, scope, sent)
    _, told = await audited(visit.gateway, ACTS[route], scope, run)
    return told


async def recorded(
    visit: Visit, act: str, target: str, run: Callable[[], Awaitable[object]], **details: str
) -> None:
    """Does what no route of the API does, with the same entries in the audit log. For admins alone.
    Raises ApiError and StorageUnavailable as ``run`` does, and where no entry can be written."""
    visit.context.require(_ADMINS)

    async def answered() -> tuple[int, object]:
        return 200, await run()

    scope = {**visit.scope, "path_params": {"target": target}}
    await audited(visit.gateway, act, scope, answered, **details)
