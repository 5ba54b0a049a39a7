"""Files that an input names: ``{"$file": "file_..."}`` anywhere in it stands for a ``data:`` URI
(RFC 2397) of the file where that is small, and else for a URL by which a backend reads it."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable
from typing import Any

import msgspec

from gateway.files.files import Files
from gateway.policy.sections.store import FileSettings
from gateway.storage.files.base import StoredFile
from gateway.types import ApiError, Principal

MARK = b'"$file"'
"""Stands in every input that names a file."""
_KEY = "$file"
_MOST = 64
"""Files that one input may name."""


class FileInputs:
    """Puts files, or links to them, into inputs."""

    def __init__(self, files: Files, settings: Callable[[], FileSettings]) -> None:
        self._files = files
        self._settings = settings

    async def resolved(self, principal: Principal, body: bytes) -> tuple[bytes, int]:
        """The input with its files, and how many of its bytes are theirs. Raises ApiError: 400 for
        one that names too many, or one that no backend could reach; 404 for one that is not the
        caller's."""
        if MARK not in body:
            return body, 0
        value = msgspec.json.decode(body)
        named = _named(value)
        if len(named) > _MOST:
            text = f"The input names {len(named)} files; {_MOST} is the most."
            raise ApiError(400, "too_many_files", text, param=_KEY)
        put = {id: await self._put(id, principal) for id in named}
        sizes = sum(len(text) for text in put.values())
        return await asyncio.to_thread(_encoded, value, put), sizes

    async def _put(self, id: str, principal: Principal) -> str:
        file = await self._files.own(id, principal)
        if file.size <= self._settings().inline:
            return await self._inline(file)
        link = await self._files.link(file)
        base = self._settings().url
        if not link.startswith("/"):
            return link
        if base is None:
            raise ApiError(
                400,
                "file_not_reachable",
                f"The file {file.id} is larger than the {self._settings().inline} bytes that go "
                "into a request, and this gateway has no URL by which backends could read it: "
                "whoever runs it would have to set files.url, or a bucket as store.files.",
                param=_KEY,
            )
        return base.rstrip("/") + link

    async def _inline(self, file: StoredFile) -> str:
        try:
            async with self._files.read(file.id) as pieces:
                data = b"".join([piece async for piece in pieces])
        except LookupError:
            text = f"The bytes of {file.id} are not there any more."
            raise ApiError(410, "file_gone", text, param=_KEY) from None
        return f"data:{file.content_type};base64,{base64.b64encode(data).decode()}"


def _named(value: Any) -> list[str]:
    """Each once, in their order. Raises ApiError 400 for a name that is none."""
    found: dict[str, None] = {}

    def look(one: Any) -> None:
        if isinstance(one, list):
            for inner in one:
                look(inner)
        elif isinstance(one, dict):
            if _KEY in one:
                found[_id(one)] = None
            else:
                for inner in one.values():
                    look(inner)

    look(value)
    return list(found)


def _id(one: dict[str, Any]) -> str:
    id = one[_KEY]
    if len(one) != 1 or not isinstance(id, str):
        text = 'A file is named {"$file": "file_..."}, with nothing beside it.'
        raise ApiError(400, "invalid_field", text, param=_KEY)
    return id


def _encoded(value: Any, put: dict[str, str]) -> bytes:
    def with_files(one: Any) -> Any:
        if isinstance(one, list):
            return [with_files(inner) for inner in one]
        if isinstance(one, dict):
            if _KEY in one:
                return put[one[_KEY]]
            return {key: with_files(inner) for key, inner in one.items()}
        return one

    return msgspec.json.encode(with_files(value))
