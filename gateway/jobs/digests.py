"""What tells one request from another of the same name: the bytes that its caller sent."""

from __future__ import annotations

import hashlib

import msgspec

from adapters.forms import boundary_of
from adapters.types import JSON_TYPE, Task


class AsSent(msgspec.Struct, frozen=True):
    """A call as its caller sent it, before the name that it gave became a model's."""

    name: str
    body: bytes


def request_digests(
    task: Task,
    model: str,
    body: bytes,
    sent: AsSent | None,
    content_type: str = JSON_TYPE,
    betas: str = "",
    query: str = "",
) -> tuple[str, ...]:
    """In hexadecimal digits: the first is what a request is kept under, the same for the same
    request, whatever its name stands for by then; it may be kept under any. ``sent``: None where
    the model was called by its own name."""
    said = _said_beside(content_type, betas) + ((query.encode(),) if query else ())
    own = _digest(task, model, _without_boundary(body, content_type), said)
    if sent is None:
        return (own,)
    as_sent = _digest(task, sent.name, _without_boundary(sent.body, content_type), said)
    return (as_sent, own)  # as it was once kept: by its model


def _without_boundary(body: bytes, content_type: str) -> bytes:
    """Clients draw a form's boundary anew each time that they send it."""
    boundary = boundary_of(content_type)
    return body if boundary is None else body.replace(b"--" + boundary, b"--")


def _said_beside(content_type: str, betas: str) -> tuple[bytes, ...]:
    """What is asked beside the body; nothing by most."""
    if content_type == JSON_TYPE and not betas:
        return ()
    kind = content_type if boundary_of(content_type) is None else "form"
    return kind.encode(), betas.encode()


def _digest(task: Task, model: str, body: bytes, said: tuple[bytes, ...]) -> str:
    parts = (task.encode(), model.encode(), body, *said)
    whole = hashlib.sha256()
    for part in parts:
        whole.update(b"%d:" % len(part) + part)
    return whole.hexdigest()
