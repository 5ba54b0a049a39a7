"""The console's addresses and cookies: what a browser brings, and where it is led."""

from __future__ import annotations

from gateway.api.middleware import CONSOLE
from gateway.api.requests.request import RequestContext, Send, respond

PREFIX = CONSOLE
SIGN_IN = f"{PREFIX}/sign-in"
COOKIE = "spillgate_session"


async def lead(
    send: Send, context: RequestContext, to: str, cookies: tuple[bytes, ...] = ()
) -> None:
    """The browser goes on to another page of ours."""
    headers = [(b"location", to.encode()), (b"cache-control", b"no-store")]
    await respond(send, context, 303, b"", [*headers, *((b"set-cookie", one) for one in cookies)])


def cookie_of(context: RequestContext, name: str) -> str:
    """Empty where the browser has sent none of that name."""
    for each in context.headers.get(b"cookie", b"").decode("latin-1").split(";"):
        key, _, value = each.strip().partition("=")
        if key == name:
            return value
    return ""


def session_of(context: RequestContext) -> str:
    """Its name; empty without one."""
    return cookie_of(context, COOKIE)
