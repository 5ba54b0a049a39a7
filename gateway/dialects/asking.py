"""Asks a backend for a call, and gives its answer in the words of the call."""

from __future__ import annotations

from collections.abc import Awaitable

import msgspec

from adapters.base import Backend
from adapters.errors import BackendError, FailureClass, malformed
from adapters.routes import TYPED_ROUTES
from adapters.types import SPOKEN_AS, Call, Reply
from gateway.dialects.messages_answered import MessageWriter
from gateway.dialects.messages_asked import chat_of_message
from gateway.dialects.responses_answered import ResponseWriter
from gateway.dialects.responses_asked import chat_of_response
from gateway.dialects.shown_names import shown_as
from gateway.dialects.streams import MISSHAPEN, Writer, WrittenStream

_ASKED = {"messages": chat_of_message, "responses": chat_of_response}
_WRITERS: dict[str, type[Writer]] = {"messages": MessageWriter, "responses": ResponseWriter}


def ask(adapter: Backend, call: Call, bound: str = "max_tokens") -> Awaitable[Reply]:
    """What ``invoke`` gives, and raises. ``bound``: the field in which the backend takes a bound of
    an answer; "none" where it is given none. A backend that does not know the call's own words is
    asked in those of ``SPOKEN_AS``; UNSUPPORTED where these cannot say it."""
    if call.task not in SPOKEN_AS and not call.shown:
        return adapter.invoke(call)
    if is_understood(adapter, call):
        return adapter.invoke(call) if not call.shown else _shown(adapter, call)
    return _translated(adapter, call, "max_tokens" if bound == "none" else bound)


def is_understood(adapter: Backend, call: Call) -> bool:
    """Whether the backend takes the call as it came."""
    return call.task not in SPOKEN_AS or call.task in adapter.capabilities.tasks


async def _shown(adapter: Backend, call: Call) -> Reply:
    return shown_as(await adapter.invoke(call), call.shown)


async def _translated(adapter: Backend, call: Call, bound: str) -> Reply:
    """The answer names the model by which the call knows it: what the backend calls it is no
    answer's matter that is written anew."""
    body = _said(call, bound)
    writer = _WRITERS[call.task](call)
    spoken = msgspec.structs.replace(call, task=SPOKEN_AS[call.task], body=body, shown="", betas="")
    reply = await adapter.invoke(spoken)
    if reply.chunks is not None:
        return msgspec.structs.replace(reply, chunks=WrittenStream(reply.chunks, writer))
    try:
        written = writer.whole(reply.body, reply.usage)
    except MISSHAPEN:
        raise malformed("The backend's answer has no known shape.", usage=reply.usage) from None
    return msgspec.structs.replace(reply, body=written)


def _said(call: Call, bound: str) -> bytes:
    """The body of the chat. Raises INVALID for a request that is not in the shape of its task."""
    try:
        return _ASKED[call.task](call.body, bound)
    except MISSHAPEN:
        said = f"The request is not in the shape of {TYPED_ROUTES[call.task]}."
        raise BackendError(FailureClass.INVALID, said) from None
