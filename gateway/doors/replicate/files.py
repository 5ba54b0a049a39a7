"""Files that a client uploads to be the input of predictions: they are the gateway's stored files
(https://replicate.com/docs/reference/http#files.create)."""

from __future__ import annotations

from typing import Any

from gateway.api.files.pages import check_unused, files_of
from gateway.api.files.uploads import take_in
from gateway.api.requests.bodies import malformed
from gateway.api.requests.request import respond
from gateway.doors.requests.pages import DoorRequest
from gateway.money.text import iso
from gateway.storage.files.base import FilesQuery, StoredFile

_FIELD, _PURPOSE = "content", "user_data"
_PAGE = 100


def shown(file: StoredFile, base: str) -> dict[str, Any]:
    """``base``: where the client reaches this door."""
    return {
        "id": file.id,
        "name": file.name,
        "content_type": file.content_type,
        "size": file.size,
        "etag": file.id,
        "checksums": {},
        "metadata": {},
        "created_at": iso(file.created_at, "milliseconds"),
        "expires_at": iso(file.expires_at, "milliseconds"),
        "urls": {"get": f"{base}/files/{file.id}"},
    }


def by_reference(value: Any, base: str) -> Any:
    """An input in which the URL of a file of this door is the file itself, as inputs here name
    one. Raises ApiError 400 for an input that nests too deeply."""
    try:
        return _by_reference(value, base)
    except RecursionError as error:
        raise malformed(error, b"") from None


def _by_reference(value: Any, base: str) -> Any:
    if isinstance(value, str):
        begins = f"{base}/files/"
        id = value.removeprefix(begins)
        return {"$file": id} if id != value and id and "/" not in id else value
    if isinstance(value, list):
        return [_by_reference(one, base) for one in value]
    if isinstance(value, dict):
        return {name: _by_reference(value[name], base) for name in value}
    return value


async def create(asked: DoorRequest, base: str) -> None:
    """Raises ApiError 400, 413 and 415 for a form that cannot be taken."""
    most = asked.gateway.active.policy.files.max
    files = files_of(asked.gateway)
    file = await take_in(files, asked.context, asked.receive, most, field=_FIELD, purpose=_PURPOSE)
    await asked.respond(shown(file, base), 201)


async def find(asked: DoorRequest, base: str) -> None:
    """The newest of the caller's own."""
    principal = asked.context.principal
    query = FilesQuery(user=principal.user, purpose=_PURPOSE, most=_PAGE)
    found = await files_of(asked.gateway).records.find(query)
    results = [shown(one, base) for one in found]
    await asked.respond({"previous": None, "next": None, "results": results})


async def show(asked: DoorRequest, base: str) -> None:
    await asked.respond(shown(await _own(asked), base))


async def delete(asked: DoorRequest) -> None:
    """Raises ApiError 409 for the input of a batch that has not ended."""
    file = await _own(asked)
    await check_unused(asked.gateway, file)
    await files_of(asked.gateway).drop(file.id)
    await respond(asked.send, asked.context, 204, b"")


async def _own(asked: DoorRequest) -> StoredFile:
    """Raises ApiError 404."""
    return await files_of(asked.gateway).own(asked.named("file"), asked.context.principal)
