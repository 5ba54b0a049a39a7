"""/admin: the endpoint of each route. For admin keys only, but for the keys of delegates."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from typing import Any

from gateway.api.admin.audited import ACTS, audited
from gateway.api.requests.bodies import read_body
from gateway.api.requests.request import (
    Receive,
    RequestContext,
    Scope,
    Send,
    only,
    respond_json,
)
from gateway.service import Gateway
from gateway.types import Role

Handler = Callable[[Gateway, Scope, bytes], Awaitable[tuple[int, Any]]]

_ADMINS: tuple[Role, ...] = ("admin",)
_DELEGATED: tuple[Role, ...] = ("admin", "delegate")
FOR_DELEGATES = ("/admin/keys", "/admin/keys/{key_id}", "/admin/keys/{key_id}/rotate")
"""The routes that a delegate may ask for its team."""


class AdminEndpoint:
    """One route: ``handlers`` maps a method to what it does; each returns (status, JSON).
    Raises ApiError 403 for a key without the right, and 405 for another method."""

    def __init__(self, gateway: Gateway, path: str, handlers: dict[str, Handler]) -> None:
        self._gateway = gateway
        self._path = path
        self._handlers = handlers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        context: RequestContext = scope["context"]
        context.require(_DELEGATED if self._path in FOR_DELEGATES else _ADMINS)
        handler = self._handlers.get(scope["method"])
        if handler is None:
            only(next(iter(self._handlers)), scope)
            raise AssertionError("unreachable")
        body = await read_body(self._gateway, context, receive)
        run = functools.partial(handler, self._gateway, scope, body)
        act = ACTS.get((scope["method"], self._path))
        status, value = await (run() if act is None else audited(self._gateway, act, scope, run))
        await respond_json(send, context, value, status)
