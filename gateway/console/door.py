"""The console's door: who comes in, and what a browser is told that may not. What makes pages is
loaded with the first one."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from gateway.api.requests.request import Receive, RequestContext, Scope, Send
from gateway.api.routed_paths import RoutedPath
from gateway.console.sign_in.cookies import PREFIX, SIGN_IN, lead, session_of
from gateway.console.sign_in.sessions import FILE, OIDC, Sessions
from gateway.failed_keys import FailedKeys
from gateway.service import Gateway
from gateway.types import ApiError, Principal

if TYPE_CHECKING:
    from gateway.console.desk import Desk

_LED_HERE = {"/usage": f"{PREFIX}/spend"}
"""Paths for programs that people open too, and the page that they mean."""


class ConsoleDoor:
    """Of one gateway. Opens no file and loads no template before somebody comes."""

    def __init__(self, gateway: Gateway) -> None:
        data = Path(gateway.active.policy.server.data)
        self.sessions = Sessions(data / FILE, gateway.keys, gateway.clock)
        self._gateway = gateway
        self._oidc = gateway.active.policy.server.console.oidc
        self._desk: Desk | None = None
        self._failed_keys: FailedKeys

    def routes(self, failed_keys: FailedKeys) -> list[RoutedPath]:
        """``failed_keys`` counts who signs in with a key that is none."""
        self._failed_keys = failed_keys
        return [RoutedPath(path, self) for path in (PREFIX, f"{PREFIX}/{{rest:path}}")]

    def principal(self, context: RequestContext) -> Principal:
        """Whose session it is. Raises ApiError 401 where there is none."""
        found = self.sessions.principal(session_of(context))
        if found is None or (self._oidc is None and found.key_id.startswith(OIDC)):
            context.is_logged = False  # nobody is refused: a form is shown
            words = "Sign in first: there is no session, or it is over."
            raise ApiError(401, "missing_api_key", words, type="authentication_error")
        return found

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await (await self._opened()).answer(scope, receive, send)

    def answers(self, context: RequestContext, error: ApiError) -> bool:
        """Whether an error is told as a page."""
        if context.path.startswith(PREFIX):
            return True
        return error.status == 401 and bool(page_meant(context))

    async def tell(self, scope: Scope, send: Send, error: ApiError) -> None:
        """Whoever has no session is led to the form that begins one, and back from there."""
        context: RequestContext = scope["context"]
        if error.status == 401:
            await lead(send, context, page_meant(context) or SIGN_IN + _back_to(scope))
            return
        await (await self._opened()).tell(scope, send, error)

    async def _opened(self) -> Desk:
        if self._desk is None:
            self._desk = await asyncio.to_thread(self._open)
        return self._desk

    def _open(self) -> Desk:
        # Imported here because a gateway that nobody looks at must not pay for Jinja2.
        from gateway.console.desk import Desk

        return Desk(self._gateway, self.sessions, self._failed_keys)


def page_meant(context: RequestContext) -> str:
    """The page that a browser is led to from a path for programs; empty for programs, and
    elsewhere."""
    if b"authorization" in context.headers or b"text/html" not in context.headers.get(
        b"accept", b""
    ):
        return ""
    return _LED_HERE.get(context.path, "")


def _back_to(scope: Scope) -> str:
    query = scope["query_string"].decode("latin-1")
    page = scope["path"] + (f"?{query}" if query else "")
    return "" if page == PREFIX or scope["method"] == "POST" else f"?next={quote(page, safe='/')}"
