"""The paths of /v1/batches."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from gateway.api.batches.asked import asked_batch
from gateway.api.files.pages import files_of
from gateway.api.files.views import page
from gateway.api.requests.bodies import read_body
from gateway.api.requests.queries import limit_of, query_of
from gateway.api.requests.request import (
    Receive,
    RequestContext,
    Scope,
    Send,
    only,
    respond_json,
)
from gateway.batches.batches import Batches
from gateway.service import Gateway
from gateway.storage.batches.base import BatchesQuery, StoredBatch
from gateway.types import ApiError

_LIST = frozenset(("after", "limit"))
_NOTHING: frozenset[str] = frozenset()
_USUAL, _MOST = 20, 100


def batches_of(gateway: Gateway) -> Batches:
    """Raises ApiError 501 where there are none."""
    if gateway.batches is None:
        raise ApiError(
            501, "no_batches", "This gateway has no store for batches.", type="api_error"
        )
    return gateway.batches


class BatchesEndpoint:
    """POST and GET /v1/batches."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        context: RequestContext = scope["context"]
        batches = batches_of(self._gateway)
        if scope["method"] == "POST":
            query_of(scope, _NOTHING)
            body = await read_body(self._gateway, context, receive)
            asked = await asked_batch(files_of(self._gateway), context, body)
            batch = await batches.accept(asked)
            await respond_json(send, context, await batches.view(batch))
            return
        only("GET", scope)
        given, principal = query_of(scope, _LIST), context.principal
        query = BatchesQuery(
            user=None if principal.role == "admin" else principal.user,
            before=given.get("after"),
            most=limit_of(given, _USUAL, _MOST) + 1,
        )
        found = await batches.store.find(query)
        told = [await batches.view(one) for one in found]
        await respond_json(send, context, page(told, query.most - 1))


class BatchEndpoint:
    """A path of /v1/batches/{batch}: ``method`` alone, of a batch that the key may see."""

    def __init__(
        self,
        gateway: Gateway,
        answer: Callable[[Batches, StoredBatch, RequestContext, Send], Awaitable[None]],
        method: str = "GET",
    ) -> None:
        self._gateway = gateway
        self._answer = answer
        self._method = method

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        context: RequestContext = scope["context"]
        only(self._method, scope)
        query_of(scope, _NOTHING)
        batches = batches_of(self._gateway)
        batch = await _own(batches, scope["path_params"]["batch"], context)
        await self._answer(batches, batch, context, send)


def batch_paths(gateway: Gateway) -> dict[str, BatchEndpoint]:
    """What follows /v1/batches/{batch}, and who answers."""
    return {
        "": BatchEndpoint(gateway, _show),
        "/cancel": BatchEndpoint(gateway, _cancel, "POST"),
        "/results": BatchEndpoint(gateway, _results),
    }


async def _show(batches: Batches, batch: StoredBatch, context: RequestContext, send: Send) -> None:
    await respond_json(send, context, await batches.view(batch))


async def _cancel(
    batches: Batches, batch: StoredBatch, context: RequestContext, send: Send
) -> None:
    """Of a batch that has ended nothing changes."""
    await batches.worker.cancel(batch.id)
    found = await batches.store.get(batch.id) or batch
    await respond_json(send, context, await batches.view(found))


async def _results(
    batches: Batches, batch: StoredBatch, context: RequestContext, send: Send
) -> None:
    """What has ended by now, a line each. Raises ApiError 409 for a batch that has ended, whose
    files have it."""
    if batch.ended_at is not None:
        raise ApiError(
            409,
            "batch_ended",
            f"The batch is {batch.state}: GET /v1/files/{{id}}/content of its output_file_id and "
            "error_file_id have its lines.",
        )
    headers = [
        (b"content-type", b"application/jsonl"),
        (b"x-request-id", context.request_id.encode()),
    ]
    context.begun = True
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    async for line in batches.results(batch.id):
        await send({"type": "http.response.body", "body": line, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def _own(batches: Batches, id: str, context: RequestContext) -> StoredBatch:
    """Raises ApiError 404."""
    batch = await batches.store.get(id) if id.startswith("batch_") else None
    principal = context.principal
    if batch is None or (principal.role != "admin" and batch.user != principal.user):
        raise ApiError(
            404,
            "batch_not_found",
            "There is no such batch of yours. A batch is forgotten 30 days after its end.",
            param="batch",
        )
    return batch
