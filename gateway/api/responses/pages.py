"""/v1/responses: asked for, gone on from, told again and deleted."""

from __future__ import annotations

from typing import Any

import msgspec

from gateway.active_policy import ActivePolicy
from gateway.api.calls.call_requests import serve
from gateway.api.calls.openai import parsed_call
from gateway.api.requests.bodies import read_body, too_large
from gateway.api.requests.request import (
    JSON,
    Receive,
    RequestContext,
    Scope,
    Send,
    only,
    respond,
    respond_json,
)
from gateway.api.responses.recording import Keep, RecordedResponse
from gateway.responses.conversation import (
    AskedResponse,
    Items,
    asked_of,
    continued,
    items_of,
    previous_of,
)
from gateway.responses.keeping import KeptResponses
from gateway.service import Gateway
from gateway.types import ApiError, Principal

_items = msgspec.json.Decoder(list[Any]).decode


class ResponsesEndpoint:
    """POST. What goes on from a response that is kept here is asked for with all that was said
    before; what names one that nobody has kept goes as it is to a backend that may have, with the
    account of all keys: what is another's, or was deleted, does not."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        context: RequestContext = scope["context"]
        only("POST", scope)
        gateway = self._gateway
        body = await read_body(gateway, context, receive)
        if (kept := gateway.responses) is not None:
            if (asked := asked_of(body)) is not None:
                body, send = await self._going_on(kept, context, body, asked, send)
            else:
                await _check_is_for(kept, context.principal, previous_of(body))
        parsed = parsed_call(gateway.active, context.principal, "responses", body)
        await serve(gateway, context, parsed, receive, send)

    async def _going_on(
        self,
        kept: KeptResponses,
        context: RequestContext,
        body: bytes,
        asked: AskedResponse,
        send: Send,
    ) -> tuple[bytes, Send]:
        """The body as it is asked for, and where its answer goes. Raises ApiError 404 and 413."""
        previous, items = asked.previous_response_id, items_of(asked)
        if previous:
            found = await kept.find(context.principal.id, previous)
            if found is None:
                await _check_is_for(kept, context.principal, previous)
                _check_kept_elsewhere(self._gateway.active, context, body, previous)
                return body, send
            items = [*_items(found.items), *items]
            body = continued(body, items)
            if len(body) > (most := self._gateway.active.policy.server.max_body):
                raise too_large(most)
        keep = None if asked.store is False else _keeping(kept, context, items)
        return body, RecordedResponse(send, keep, previous or None)


async def _check_is_for(kept: KeptResponses, caller: Principal, previous: str) -> None:
    """Raises ApiError 404 for what is another's, or was deleted."""
    if previous and await kept.is_not_for(caller.id, previous):
        raise _not_found(previous, "previous_response_id")


def _check_kept_elsewhere(
    active: ActivePolicy, context: RequestContext, body: bytes, previous: str
) -> None:
    """Raises ApiError 404 where no backend of the model keeps responses itself."""
    parsed = parsed_call(active, context.principal, "responses", body)
    for name in active.policy.models[parsed.model].backends:
        if "responses" in active.backends[name].adapter.capabilities.tasks:
            return
    raise _not_found(previous, "previous_response_id")


def _keeping(kept: KeptResponses, context: RequestContext, items: Items) -> Keep:
    owner = context.principal.id

    async def keep(answer: dict[str, Any]) -> bool:
        return await kept.keep(owner, answer, items)

    return keep


class ResponseEndpoint:
    """GET tells a response again, DELETE forgets it. Raises ApiError 404 for one that is not kept,
    or another key's."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        context: RequestContext = scope["context"]
        id: str = scope["path_params"]["response"]
        kept, owner = self._gateway.responses, context.principal.id
        if scope["method"] == "DELETE":
            if kept is None or not await kept.delete(owner, id):
                raise _not_found(id)
            await respond_json(send, context, {"id": id, "object": "response", "deleted": True})
            return
        only("GET", scope)
        found = None if kept is None else await kept.find(owner, id)
        if found is None:
            raise _not_found(id)
        await respond(send, context, 200, found.answer.encode(), [JSON])


def _not_found(id: str, param: str = "response") -> ApiError:
    return ApiError(
        404,
        "response_not_found",
        f"Your key has no response {id[:64]!r} that is kept. They are kept where the policy says "
        "`store.responses`, for as long as that says.",
        param=param,
    )
