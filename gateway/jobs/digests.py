"""What tells one request from another of the same name: the bytes that its caller sent."""

from __future__ import annotations

import hashlib

import msgspec

from adapters.types import Task


class AsSent(msgspec.Struct, frozen=True):
    """A call as its caller sent it, before the name that it gave became a model's."""

    name: str
    body: bytes


def request_digests(task: Task, model: str, body: bytes, sent: AsSent | None) -> tuple[str, ...]:
    """In hexadecimal digits: the first is what a request is kept under, the same for the same
    request, whatever its name stands for by then; it may be kept under any. ``sent``: None where
    the model was called by its own name."""
    own = _digest(task, model, body)
    if sent is None:
        return (own,)
    return (_digest(task, sent.name, sent.body), own)  # as it was once kept: by its model


def _digest(task: Task, model: str, body: bytes) -> str:
    parts = (task.encode(), model.encode(), body)
    whole = hashlib.sha256()
    for part in parts:
        whole.update(b"%d:" % len(part) + part)
    return whole.hexdigest()
