"""What a handler is given, made of what a caller sent."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

from local_runtime.app.forms import kind_of, read_file, read_form
from local_runtime.app.model_sizes import model_in
from local_runtime.app.request import File, InvalidInput, Request
from local_runtime.app.runtime import Handler
from local_runtime.json_bodies import NotJson, decoded
from local_runtime.protocol.events import CONTENT_TYPE, Done
from local_runtime.worker.jobs import Job
from local_runtime.worker.results import failed

_AHEAD = 64 * 1024
"""Bytes of a body: larger ones would hold up the socket."""


def request_of(job: Job) -> Request:
    """What the handler is given. Raises InvalidInput when the body is not what its Content-Type
    says, or not of the handler's type."""
    if job.request is not None:
        return job.request
    headers = headers_of(job.run.headers)
    body, files = _read(job, headers.get(CONTENT_TYPE, ""))
    return Request(
        json=body,
        id=job.run.request,
        route=job.run.route,
        stream=job.run.stream,
        headers=headers,
        model=job.model or job.run.model,
        files=files,
        cancellation=job.cancellation,
    )


def _read(job: Job, content_type: str) -> tuple[Any, tuple[File, ...]]:
    handler, body = job.handler, job.run.body
    kind = kind_of(content_type) if content_type else "json"
    if kind == "json":
        return _of_json(handler, body), ()
    if kind == "form":
        fields, files = read_form(body, content_type)
        return (fields if handler.input is None else handler.input.of_fields(fields)), files
    if handler.input is not None:
        text = f"this takes JSON or a form, and no body of {content_type[:80]}"
        raise InvalidInput(text, param="Content-Type")
    return None, (read_file(body, content_type),)


def _of_json(handler: Handler, body: bytes) -> Any:
    try:
        return decoded(body) if handler.input is None else handler.input.of_json(body)
    except NotJson as error:
        raise InvalidInput(str(error)) from None


def headers_of(pairs: tuple[tuple[str, str], ...]) -> dict[str, str]:
    """By name; the values of one that comes several times with commas between them, as RFC 9110,
    section 5.3 has it."""
    headers = dict(pairs)
    if len(headers) != len(pairs):
        headers = {}
        for name, value in pairs:
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers


def named_in(job: Job) -> str:
    """The model that the caller names: to the gateway, else in the body's ``model``; "" where it
    names none. Raises InvalidInput for a body that cannot be read."""
    if job.run.model:
        return job.run.model
    if job.handler.input is None:
        return model_in(request_of(job).json)
    return model_in(_untyped(job))


def _untyped(job: Job) -> Any:
    """The body as it came: a handler's type need not have the model's name."""
    content_type = headers_of(job.run.headers).get(CONTENT_TYPE, "")
    if kind_of(content_type) == "form":
        return read_form(job.run.body, content_type)[0]
    try:
        return decoded(job.run.body)
    except NotJson as error:
        raise InvalidInput(str(error)) from None


def decode_early(job: Job) -> Done | None:
    """Decodes a modest body before its turn comes, in the socket's thread: the device is busy then,
    and need not wait for it later. The Done of its failure, whatever the app's own type raised: it
    must not reach the socket."""
    if len(job.run.body) > _AHEAD:
        return None
    try:
        job.request = request_of(job)
    except BaseException as error:
        return failed(job.run.id, error)
    return None


def assign_bucket(job: Job, bucket: Callable[[Request], Hashable]) -> Done | None:
    """Puts the job in its bucket; the Done of its failure where that cannot be done."""
    try:
        job.request = request_of(job)
        job.bucket = bucket(job.request)
        hash(job.bucket)
    except BaseException as error:
        return failed(job.run.id, error)
    return None


def prepare(job: Job) -> Done | None:
    """Reads a call of a batch handler and puts it in its bucket; the Done of its failure."""
    batch = job.handler.batch
    assert batch is not None
    refusal = decode_early(job) if batch.bucket is None else assign_bucket(job, batch.bucket)
    if job.model:
        job.bucket = (job.model, job.bucket)
    return refusal
