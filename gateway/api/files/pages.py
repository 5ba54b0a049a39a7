"""The paths of /v1/files."""

from __future__ import annotations

from collections.abc import AsyncIterator
from urllib.parse import quote

from gateway.api.files.uploads import take_in
from gateway.api.files.views import page, shown
from gateway.api.requests.queries import limit_of, oldest_first, query_of
from gateway.api.requests.request import (
    Header,
    Receive,
    RequestContext,
    Scope,
    Send,
    only,
    respond_json,
)
from gateway.files.files import Files
from gateway.service import Gateway
from gateway.storage.files.base import FilesQuery, StoredFile
from gateway.types import ApiError
from local_runtime.http.strangers import IDENTIFY

_LIST = frozenset(("after", "limit", "order", "purpose"))
_NOTHING: frozenset[str] = frozenset()
_TOKEN = frozenset(("token",))
_USUAL, _MOST = 1_000, 10_000


def files_of(gateway: Gateway) -> Files:
    """Raises ApiError 501 where there are none."""
    if gateway.stored_files is None:
        raise ApiError(501, "no_files", "This gateway has no store for files.", type="api_error")
    return gateway.stored_files


class FilesEndpoint:
    """POST and GET /v1/files."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        context: RequestContext = scope["context"]
        files = files_of(self._gateway)
        if scope["method"] == "POST":
            query_of(scope, _NOTHING)
            most = self._gateway.active.policy.files.max
            await respond_json(send, context, shown(await take_in(files, context, receive, most)))
            return
        only("GET", scope)
        query = _query(scope, context)
        found = await files.records.find(query)
        await respond_json(send, context, page([shown(one) for one in found], query.most - 1))


def _query(scope: Scope, context: RequestContext) -> FilesQuery:
    """One more than the page has. Raises ApiError 400."""
    given = query_of(scope, _LIST)
    principal = context.principal
    return FilesQuery(
        user=None if principal.role == "admin" else principal.user,
        purpose=given.get("purpose"),
        after=given.get("after"),
        most=limit_of(given, _USUAL, _MOST) + 1,
        oldest_first=oldest_first(given),
    )


class FileEndpoint:
    """GET and DELETE /v1/files/{file}."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        context: RequestContext = scope["context"]
        files = files_of(self._gateway)
        query_of(scope, _NOTHING)
        file = await files.own(scope["path_params"]["file"], context.principal)
        if scope["method"] == "DELETE":
            await check_unused(self._gateway, file)
            deleted = await files.drop(file.id)
            told = {"id": file.id, "object": "file", "deleted": deleted}
            await respond_json(send, context, told)
            return
        only("GET", scope)
        await respond_json(send, context, shown(file))


async def check_unused(gateway: Gateway, file: StoredFile) -> None:
    """Raises ApiError 409 for the input of a batch that has not ended."""
    if gateway.batches is not None and await gateway.batches.store.uses(file.id):
        raise ApiError(
            409,
            "file_in_use",
            "A batch that has not ended has this file as its input: cancel that one first.",
            param="file",
        )


class FileContentEndpoint:
    """GET /v1/files/{file}/content."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        context: RequestContext = scope["context"]
        only("GET", scope)
        files = files_of(self._gateway)
        query_of(scope, _NOTHING)
        file = await files.own(scope["path_params"]["file"], context.principal)
        await _send(files, file, scope, send)


class LinkedFileEndpoint:
    """GET of a link, for whoever has it. Raises ApiError 404 for one that is over, or none."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        only("GET", scope)
        files = files_of(self._gateway)
        token = query_of(scope, _TOKEN).get("token", "")
        file = await files.linked(token)
        if file is None:
            raise ApiError(404, "link_expired", "This link leads nowhere, or not any more.")
        identify = scope.get(IDENTIFY)
        if identify is not None:
            identify()
        await _send(files, file, scope, send)


async def _send(files: Files, file: StoredFile, scope: Scope, send: Send) -> None:
    context: RequestContext = scope["context"]
    try:
        async with files.read(file.id) as pieces:
            await _stream(file, pieces, context, scope["method"] == "HEAD", send)
    except LookupError:
        raise ApiError(
            410, "file_gone", "The bytes of this file are not there any more.", param="file"
        ) from None


async def _stream(
    file: StoredFile,
    pieces: AsyncIterator[bytes],
    context: RequestContext,
    is_head: bool,
    send: Send,
) -> None:
    headers: list[Header] = [
        (b"content-length", str(file.size).encode()),
        (b"content-type", file.content_type.encode()),
        (b"content-disposition", b"attachment; filename*=UTF-8''" + quote(file.name).encode()),
        (b"x-content-type-options", b"nosniff"),
        (b"cache-control", b"private, no-store"),
        (b"x-request-id", context.request_id.encode()),
    ]
    context.begun = True
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    if not is_head:
        async for piece in pieces:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": b""})
