"""Pages of other origins in browsers: which may call, and what they may read (the policy's
``server.cors``). It stands around everything else, so that errors can be read as well.

Source: https://fetch.spec.whatwg.org/#http-cors-protocol
"""

from __future__ import annotations

import re
from collections.abc import Callable, Coroutine, MutableMapping
from typing import Any

from gateway.api.requests.request import Header, Receive, Scope, Send
from gateway.policy.sections.cors import CorsSettings

Answers = Callable[[Scope, Receive, Send], Coroutine[Any, Any, None]]
"""An ASGI application."""

_METHODS: Header = (b"access-control-allow-methods", b"GET, POST, PUT, DELETE")
_READABLE: Header = (b"access-control-expose-headers", b"*")
"""No credentials of the browser's own are taken, so a star is every header."""
_VARY: Header = (b"vary", b"origin")
_NAMES = re.compile(rb"[A-Za-z0-9!#$%&'*+.^_`|~-]+(\s*,\s*[A-Za-z0-9!#$%&'*+.^_`|~-]+)*")


def with_cors(app: Answers, settings: CorsSettings | None) -> Answers:
    """The application as the policy's pages may call it; itself, where none may."""
    return app if settings is None else _Cors(app, settings)


class _Cors:
    def __init__(self, app: Answers, settings: CorsSettings) -> None:
        self._app = app
        self._all = "*" in settings.origins
        self._origins = frozenset(origin.encode() for origin in settings.origins)
        self._max_age = b"%d" % settings.max_age

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = dict(scope["headers"]) if scope["type"] == "http" else {}
        origin = headers.get(b"origin")
        if origin is None or not (self._all or origin in self._origins):
            await self._app(scope, receive, send)
            return
        allowed: list[Header] = [(b"access-control-allow-origin", origin), _VARY, _READABLE]
        if scope["method"] == "OPTIONS" and b"access-control-request-method" in headers:
            await self._preflight(send, headers, allowed)
            return

        async def readable(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *allowed]
            await send(message)

        await self._app(scope, receive, readable)

    async def _preflight(
        self, send: Send, headers: dict[bytes, bytes], allowed: list[Header]
    ) -> None:
        """A browser asks before it sends a key: whatever headers it names, it may send."""
        more: list[Header] = [_METHODS, (b"access-control-max-age", self._max_age)]
        named = headers.get(b"access-control-request-headers", b"")
        if _NAMES.fullmatch(named):
            more.append((b"access-control-allow-headers", named))
        start = {"type": "http.response.start", "status": 204, "headers": [*allowed, *more]}
        await send(start)
        await send({"type": "http.response.body", "body": b""})
