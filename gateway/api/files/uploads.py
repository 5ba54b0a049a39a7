"""A file as it comes: never whole in memory, and refused as soon as it is too much."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from gateway.api.files.forms import FormReader
from gateway.api.requests.bodies import ClientGone
from gateway.api.requests.request import Receive, RequestContext
from gateway.files.files import Files, Incoming, NewFile, too_large
from gateway.storage.files.base import CONTENT_TYPE, StoredFile
from gateway.types import ApiError

_PURPOSES = frozenset(
    ("assistants", "batch", "evals", "fine-tune", "user_data", "vision", "batch_output")
)
_SHORTEST_KEEP_S, _LONGEST_KEEP_S = 60, 30 * 86_400
_FORM = 1_000_000
"""Bytes that a form may have beside its file."""


async def take_in(
    files: Files,
    context: RequestContext,
    receive: Receive,
    most: int,
    *,
    field: str = "file",
    purpose: str = "",
) -> StoredFile:
    """The stored file of a request, which is in ``field`` of its form; ``purpose``: what it is for,
    where the form does not say. Raises ApiError: 400 for a form that cannot be read, 413 for
    one with too much in it, 415 for what is none; and ClientGone."""
    headers = context.headers
    if b"content-encoding" in headers:
        raise ApiError(
            415,
            "unsupported_content_encoding",
            "A file comes as it is: leave Content-Encoding out, or send it compressed as a file.",
            param="Content-Encoding",
            headers={"connection": "close"},
        )
    form = FormReader(headers.get(b"content-type", b""), field)
    size = _declared(headers, most)
    if size > most + _FORM:
        raise too_large(most)
    principal = context.principal
    new = NewFile(user=principal.user, key_id=principal.key_id, size=size)
    async with files.incoming(new) as taken:
        await _receive(form, taken, receive)
        taken.file = _described(taken.file, form, purpose)
    return taken.file


def _declared(headers: Mapping[bytes, bytes], most: int) -> int:
    """What comes in chunks may be as large as any."""
    text = headers.get(b"content-length", b"")
    return int(text[:18]) if text.isdigit() else most


async def _receive(form: FormReader, taken: Incoming, receive: Receive) -> None:
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        piece = form.feed(message.get("body", b""))
        if piece:
            await taken.write(piece)
        more = message.get("more_body", False)
    form.end()


def _described(file: StoredFile, form: FormReader, purpose: str) -> StoredFile:
    """With what the form says of it. Raises ApiError 400."""
    purpose = purpose or form.fields.get("purpose", "")
    if purpose not in _PURPOSES:
        raise ApiError(
            400,
            "invalid_field",
            f"`purpose` is one of {', '.join(sorted(_PURPOSES))}.",
            param="purpose",
        )
    keep_s = _keep_s(form.fields)
    return msgspec.structs.replace(
        file,
        name=form.name,
        purpose=purpose,
        content_type=form.content_type or CONTENT_TYPE,
        expires_at=file.expires_at if keep_s is None else file.created_at + keep_s,
    )


def _keep_s(fields: Mapping[str, str]) -> float | None:
    """``expires_after``, as OpenAI's clients send it."""
    text, anchor = fields.get("expires_after[seconds]"), fields.get("expires_after[anchor]")
    if text is None and anchor is None:
        return None
    seconds = int(text) if text is not None and text.isdecimal() and len(text) < 12 else 0
    if anchor not in (None, "created_at") or not _SHORTEST_KEEP_S <= seconds <= _LONGEST_KEEP_S:
        raise ApiError(
            400,
            "invalid_field",
            f"`expires_after` has the anchor created_at and {_SHORTEST_KEEP_S} to "
            f"{_LONGEST_KEEP_S} seconds.",
            param="expires_after",
        )
    return float(seconds)
