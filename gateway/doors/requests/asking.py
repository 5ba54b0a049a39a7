"""A job for a caller of another protocol, admitted as every job is."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from gateway.api.answers.job_answers import jobs_of
from gateway.api.calls.call_requests import all_preferences
from gateway.api.calls.openai import invalid_field
from gateway.api.jobs.job_requests import checked_webhook, parsed_input
from gateway.api.requests.bodies import malformed, parse_strict_json
from gateway.api.requests.request import RequestContext
from gateway.jobs.accepting import AskedJob
from gateway.jobs.records import JobDialect
from gateway.service import Gateway
from gateway.storage.jobs.base import StoredJob
from gateway.types import Priority

T = TypeVar("T")


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What such a caller may say of a job, beside its input."""

    dialect: JobDialect
    deadline_s: float | None = None
    most_run_s: float | None = None
    webhook: str | None = None
    priority: Priority | None = None
    idempotency_key: str = ""


def read_body_as(decoder: msgspec.json.Decoder[T], body: bytes) -> T:
    """Raises ApiError 400 with what is wrong, and where."""
    parse_strict_json(body)
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        raise invalid_field(error) from None
    except msgspec.DecodeError as error:
        raise malformed(error, body) from None


async def accepted(
    gateway: Gateway, context: RequestContext, name: str, body: bytes, wanted: Wanted
) -> StoredJob:
    """``name``: the model's, or an alias; ``body``: the input, as the route of the model's task
    takes it without ``model``. Raises ApiError for what cannot be read or is not admitted; then
    nothing is held."""
    jobs = jobs_of(gateway)
    parsed = parsed_input(gateway.active, context.principal, name, body)
    preferences = all_preferences(gateway, context, parsed)
    if wanted.priority is not None:
        preferences = msgspec.structs.replace(preferences, priority=wanted.priority)
    asked = AskedJob(
        model=parsed.model,
        task=parsed.task,
        body=parsed.body,
        principal=context.principal,
        preferences=preferences,
        sent=parsed.sent,
        declared=parsed.declared,
        deadline_s=wanted.deadline_s,
        webhook=checked_webhook(gateway, wanted.webhook),
        idempotency_key=wanted.idempotency_key,
        most_run_s=wanted.most_run_s,
        dialect=wanted.dialect,
    )
    job = await jobs.store.get(await jobs.accept(asked))
    assert job is not None
    return job


def decoded(given: msgspec.Raw) -> Any:
    """An input. Raises ApiError 400 for one that nests too deeply."""
    try:
        return msgspec.json.decode(given)
    except (msgspec.DecodeError, RecursionError) as error:
        raise malformed(error, bytes(given)) from None


def without_model(body: Any) -> bytes:
    """An input of OpenAI's shape, which may say what is known from elsewhere."""
    return msgspec.json.encode({name: body[name] for name in body if name != "model"})
