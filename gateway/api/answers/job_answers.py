"""Calls that become jobs, because their callers would rather not wait: ``Prefer: respond-async``,
and ``Prefer: wait=50`` (RFC 7240)."""

from __future__ import annotations

from math import inf

from gateway.api.requests.request import (
    Header,
    ParsedRequest,
    RequestContext,
    Send,
    respond,
    respond_json,
)
from gateway.dialects.shown_names import shown_as
from gateway.jobs.accepting import AskedJob
from gateway.jobs.jobs import Jobs
from gateway.jobs.records import read_answer, read_fault
from gateway.money.text import usd
from gateway.preferences import Preferences
from gateway.service import Gateway
from gateway.storage.jobs.base import StoredJob
from gateway.storage.jobs.states import ENDED
from gateway.types import ApiError

PREFER = b"prefer"
IDEMPOTENCY_KEY = b"idempotency-key"
LONGEST_WAIT_S = 60.0
"""Past it load balancers end connections."""
_LONGEST_KEY = 255


def prefers_job(context: RequestContext) -> float | None:
    """Seconds that its caller waits for a call before it is told to ask again; None: until the
    end. Another preference than these is no reason to refuse a request."""
    prefers, waits_s = False, 0.0
    for part in context.headers.get(PREFER, b"").split(b","):
        name, _, value = part.strip().partition(b";")[0].partition(b"=")
        name, value = name.strip().lower(), value.strip().strip(b'"')
        if name == b"respond-async":
            prefers = True
        elif name == b"wait" and value.isdigit() and len(value) < 9:
            prefers, waits_s = True, min(float(value), LONGEST_WAIT_S)
    return waits_s if prefers else None


def jobs_of(gateway: Gateway) -> Jobs:
    """Raises ApiError 501 where there are none."""
    if gateway.jobs is None:
        raise ApiError(501, "no_jobs", "This gateway has no store for jobs.", type="api_error")
    return gateway.jobs


def idempotency_key(context: RequestContext) -> str:
    """What a caller calls its request; empty where it calls it nothing. Raises ApiError 400."""
    text = context.headers.get(IDEMPOTENCY_KEY, b"").decode("latin-1").strip().strip('"')
    return checked_key(text, "Idempotency-Key")


def checked_key(text: str, where: str) -> str:
    """Raises ApiError 400 for a key that is none."""
    if len(text) > _LONGEST_KEY or not text.isprintable():
        raise ApiError(
            400,
            "invalid_idempotency_key",
            f"{where} is up to {_LONGEST_KEY} printable characters, such as a UUID.",
            param=where,
        )
    return text


async def answer_by_job(
    gateway: Gateway,
    context: RequestContext,
    parsed: ParsedRequest,
    preferences: Preferences,
    send: Send,
) -> None:
    """Accepts the call as a job, and answers it as a call where it ends within the time that its
    caller waits: who has named it, and says no more, waits to the end. Else 202. Raises ApiError,
    also what the job has failed of."""
    jobs, waits_s = jobs_of(gateway), prefers_job(context)
    if parsed.stream:
        raise _streams()
    named = waits_s is None
    asked = AskedJob(
        model=parsed.model,
        task=parsed.task,
        body=parsed.body,
        principal=context.principal,
        preferences=preferences,
        sent=parsed.sent,
        content_type=parsed.content_type,
        declared=parsed.declared,
        betas=parsed.betas,
        deadline_s=gateway.active.longest(parsed.model) if named else None,
        idempotency_key=idempotency_key(context),
    )
    id = await jobs.accept(asked)
    job = await jobs.ended(id, inf if waits_s is None else waits_s)
    assert job is not None
    if waits_s == 0.0 or job.state not in ENDED:
        await respond_accepted(send, context, jobs, job)
        return
    await respond_ended(send, context, await jobs.whole(job), parsed.shown)


def becomes_job(context: RequestContext) -> bool:
    """Whether the call is one that its caller would rather not wait for, or has named, so that it
    is made once however often it is sent."""
    headers = context.headers
    return IDEMPOTENCY_KEY in headers or prefers_job(context) is not None


async def respond_ended(send: Send, context: RequestContext, job: StoredJob, shown: str) -> None:
    """What the call has come to; ``shown``: another name for its model. Raises ApiError."""
    answer, fault = read_answer(job.answer), read_fault(job.error)
    if fault is not None:
        raise fault.error()
    if answer is None:
        raise ApiError(
            410, "answer_expired", "The answer to this call was kept for a while, and is gone."
        )
    headers: list[Header] = [
        (b"content-type", answer.content_type.encode()),
        (b"content-location", b"/v1/jobs/" + job.id.encode()),
        (b"x-spillgate-cost", usd(job.cost_nano).encode()),
    ]
    reply = shown_as(answer.reply(), shown) if shown else answer.reply()
    await respond(send, context, reply.status, reply.body, headers)


def _streams() -> ApiError:
    return ApiError(
        400,
        "unsupported",
        "A job's answer is whole: leave `stream` out, or the header Prefer. GET "
        "/v1/jobs/{id}/events follows a job.",
        param="stream",
    )


async def respond_accepted(
    send: Send, context: RequestContext, jobs: Jobs, job: StoredJob, *, preferred: bool = True
) -> None:
    """202, and where to ask. ``preferred``: the caller has said Prefer."""
    headers: list[Header] = [
        (b"content-type", b"application/json"),
        (b"location", b"/v1/jobs/" + job.id.encode()),
        (b"retry-after", b"1"),
    ]
    if preferred:
        headers.append((b"preference-applied", b"respond-async"))
    await respond_json(send, context, await jobs.view(job), 202, headers)
