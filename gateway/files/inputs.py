"""Files that an input names: ``{"$file": "file_..."}`` anywhere in it stands for a ``data:`` URI
(RFC 2397) of the file where that is small, and else for a URL by which a backend reads it."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable
from typing import Any

import msgspec

from adapters.types import Task
from gateway.files.files import Files
from gateway.money.inputs import InputParts
from gateway.policy.sections.store import FileSettings
from gateway.storage.files.base import StoredFile
from gateway.types import ApiError, Principal

MARK = b'"$file"'
"""Stands in every input that names a file."""
SIGN = b"$"
"""Of the mark. One byte is found in a large body fifty times as fast as a word, and few have it."""
_KEY = "$file"
_MOST = 64
"""Files that one input may name."""


class FileInputs:
    """Puts files, or links to them, into inputs. ``most``: the bytes that an input may have with
    them; ``parts`` tells what a body of a task holds beside text."""

    def __init__(
        self,
        files: Files,
        settings: Callable[[], FileSettings],
        most: Callable[[], int],
        parts: Callable[[Task, bytes], InputParts],
    ) -> None:
        self._files = files
        self._settings = settings
        self._most = most
        self.parts = parts

    async def resolved(self, principal: Principal, body: bytes) -> bytes:
        """The input with its files. Raises ApiError: 400 for one that is no JSON, nests too deep,
        names too many, or one that no backend could reach; 404 for one that is not the caller's;
        413 where it would be too large with them, before any of them is read."""
        if MARK not in body:
            return body
        try:
            return await self._with_files(principal, body)
        except msgspec.DecodeError as error:
            raise ApiError(400, "invalid_json", f"The input is no JSON: {error}.") from None
        except RecursionError:
            text = "The input nests too deep for files to be put into it."
            raise ApiError(400, "invalid_json", text) from None

    async def _with_files(self, principal: Principal, body: bytes) -> bytes:
        value = msgspec.json.decode(body)
        named = _named(value)
        if len(named) > _MOST:
            text = f"The input names {len(named)} files; {_MOST} is the most."
            raise ApiError(400, "too_many_files", text, param=_KEY)
        files = [await self._files.own(id, principal) for id in named]
        self._check_size(body, sum(named[file.id] * self._inline_size(file) for file in files))
        put = {file.id: await self._put(file) for file in files}
        self._check_size(body, sum(named[id] * len(text) for id, text in put.items()))
        return await asyncio.to_thread(_encoded, value, put)

    def _check_size(self, body: bytes, theirs: int) -> None:
        most = self._most()
        if len(body) + theirs > most:
            raise ApiError(
                413,
                "body_too_large",
                f"With the files that it names, each as often as it does, the input would be larger"
                f" than the {most} bytes that it may have (server.max_body). Name fewer or smaller "
                "ones.",
                param=_KEY,
            )

    def _inline_size(self, file: StoredFile) -> int:
        """In an input; 0 of one that goes by a link."""
        if file.size > self._settings().inline:
            return 0
        return len(_prefix(file)) + (file.size + 2) // 3 * 4

    async def _put(self, file: StoredFile) -> str:
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
        return _prefix(file) + base64.b64encode(data).decode()


def _prefix(file: StoredFile) -> str:
    return f"data:{file.content_type};base64,"


def _named(value: Any) -> dict[str, int]:
    """Each, in their order, and how often. Raises ApiError 400 for a name that is none."""
    found: dict[str, int] = {}

    def look(one: Any) -> None:
        if isinstance(one, list):
            for inner in one:
                look(inner)
        elif isinstance(one, dict):
            if _KEY in one:
                id = _id(one)
                found[id] = found.get(id, 0) + 1
            else:
                for inner in one.values():
                    look(inner)

    look(value)
    return found


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
