"""What a caller asks of /v1/jobs, read and understood."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any, get_args
from urllib.parse import urlsplit

import msgspec

from adapters.routes import OPENAI_ROUTES, PLAIN_ROUTES
from adapters.settings import parse_duration
from adapters.types import JSON_TYPE, ModelTask, Task
from gateway.active_policy import ActivePolicy
from gateway.api.answers.job_answers import LONGEST_WAIT_S, checked_key, idempotency_key
from gateway.api.calls.call_requests import all_preferences
from gateway.api.calls.infer import parsed_json
from gateway.api.calls.openai import invalid_field, parsed_call
from gateway.api.calls.plain import Sent, parsed_plain
from gateway.api.requests.bodies import malformed, parse_strict_json
from gateway.api.requests.queries import limit_of, query_of
from gateway.api.requests.request import ParsedRequest, RequestContext, Scope
from gateway.events.addresses import is_never_dialled
from gateway.jobs.accepting import AskedJob
from gateway.jobs.digests import AsSent
from gateway.jobs.records import read_request
from gateway.policy.model import ModelSpec
from gateway.policy.sections.webhooks import is_private, parse_webhook_url
from gateway.service import Gateway
from gateway.storage.jobs.base import JobsQuery, StoredJob
from gateway.storage.jobs.states import STATES, JobState
from gateway.types import ApiError, Principal, Priority

LONGEST_S = 30 * 86_400.0
"""Until a job's deadline, and that its result is kept."""
_MOST_PAGE = 100
_TASKS: tuple[ModelTask, ...] = get_args(ModelTask)


class JobBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Of POST /v1/jobs."""

    model: str
    input: msgspec.Raw
    task: Task | None = None
    webhook: str | None = None
    priority: Priority | None = None
    deadline: str | float | None = None
    ttl: str | float | None = None
    idempotency_key: str | None = None
    tags: dict[str, str] = {}


_decode = msgspec.json.Decoder(JobBody).decode


def asked_job(gateway: Gateway, context: RequestContext, body: bytes) -> AskedJob:
    """Raises ApiError 400 with what is wrong and where, and 404 for an unknown model."""
    parse_strict_json(body)
    try:
        read = _decode(body)
    except msgspec.ValidationError as error:
        raise invalid_field(error) from None
    except msgspec.DecodeError as error:
        raise malformed(error, body) from None
    spec = gateway.active.model(read.model, context.principal)
    if read.task is not None and read.task != spec.task:
        raise _wrong_task(read, spec.task)
    parsed = parsed_input(gateway.active, context.principal, read.model, bytes(read.input))
    preferences = all_preferences(gateway, context, parsed, read.tags)
    if read.priority is not None:
        preferences = msgspec.structs.replace(preferences, priority=read.priority)
    key = read.idempotency_key
    return AskedJob(
        model=parsed.model,
        task=parsed.task,
        body=parsed.body,
        principal=context.principal,
        preferences=preferences,
        sent=parsed.sent,
        declared=parsed.declared,
        deadline_s=_until(read.deadline, context.received_at),
        keep_s=_span(read.ttl, "ttl"),
        webhook=checked_webhook(gateway, read.webhook),
        idempotency_key=idempotency_key(context)
        if key is None
        else checked_key(key, "idempotency_key"),
    )


def _wrong_task(read: JobBody, task: Task) -> ApiError:
    return ApiError(
        400,
        "wrong_task",
        f"The model {read.model!r} serves {task}, not {read.task}.",
        param="task",
    )


def parsed_input(
    active: ActivePolicy, principal: Principal, model: str, body: bytes
) -> ParsedRequest:
    """The call that the task's own route would have made of a job's input. Raises ApiError 400 for
    one that cannot be read, 403 and 404 for a model."""
    spec = active.model(model, principal)
    if spec.task == "infer":
        return parsed_json(active, principal, model, body)
    if spec.task == "other":
        return _on_its_own_route(model, spec, body)
    route = OPENAI_ROUTES.get(spec.task) or PLAIN_ROUTES.get(spec.task)
    if route is None:
        raise ApiError(
            400,
            "unsupported",
            f"The model {model!r} answers on a connection, /v1/realtime, alone: it takes no jobs.",
            param="model",
        )
    if not body.startswith(b"{"):
        raise ApiError(
            400,
            "invalid_field",
            f"`input` is the object that {route} takes, without `model`.",
            param="input",
        )
    named = b'{"model":' + msgspec.json.encode(model)
    rest = body[1:].lstrip()
    named += (b"," if rest != b"}" else b"") + rest
    if spec.task in PLAIN_ROUTES:
        return parsed_plain(active, principal, spec.task, Sent(named, JSON_TYPE))
    parsed = parsed_call(active, principal, spec.task, named)
    if parsed.stream:
        raise ApiError(
            400,
            "unsupported",
            "A job's answer is whole: leave `stream` out of its input.",
            param="input.stream",
        )
    return parsed


def _on_its_own_route(model: str, spec: ModelSpec, body: bytes) -> ParsedRequest:
    """A request to the route that the policy names: ``body`` is JSON as it came, and nothing where
    its method has none. What such a body means nobody here knows."""
    method, path = spec.declared
    assert path is not None
    has_body = method not in _WITHOUT_BODY
    if not has_body and msgspec.json.decode(body) != {}:
        raise ApiError(
            400,
            "invalid_field",
            f"The route of {model!r} is {method} {path}, which has no body: `input` is {{}}.",
            param="input",
        )
    return ParsedRequest(
        model,
        "other",
        body if has_body else b"",
        False,
        False,
        spec.max_output_tokens,
        declared=(method, path),
    )


_WITHOUT_BODY = ("GET", "DELETE")


def checked_webhook(gateway: Gateway, url: str | None) -> str:
    """Where the end of a job is told; empty: nowhere. Raises ApiError 400."""
    if url is None:
        return ""
    settings = gateway.active.policy.webhooks
    if settings.jobs is None:
        raise ApiError(
            400,
            "no_job_webhooks",
            "This gateway tells nobody of jobs: whoever runs it would have to set webhooks.jobs. "
            "GET /v1/jobs/{id}?wait=30s waits for a job's end.",
            param="webhook",
        )
    try:
        checked = parse_webhook_url(url)
    except ValueError as error:
        raise _bad_webhook(str(error)) from None
    host = urlsplit(checked).hostname or ""
    if not settings.allow_private and is_private(host):
        raise _bad_webhook("it lies in a private network, which this gateway does not reach")
    if is_never_dialled(host):
        raise _bad_webhook("it is where a cloud tells a machine of itself: no receiver is there")
    return checked


def _bad_webhook(why: str) -> ApiError:
    return ApiError(400, "invalid_webhook", f"`webhook`: {why}.", param="webhook")


def _span(value: str | float | None, name: str) -> float | None:
    """Seconds, or a text such as 2h."""
    if value is None:
        return None
    try:
        seconds = float(value) if isinstance(value, (int, float)) else parse_duration(value)
    except ValueError:
        seconds = -1.0
    if not 0 < seconds <= LONGEST_S:
        raise ApiError(
            400,
            "invalid_field",
            f"`{name}` is a span of up to 30 days, such as 90s, 2h or 1d.",
            param=name,
        )
    return seconds


def _until(value: str | float | None, now_at: float) -> float | None:
    """A span, or an instant such as 2026-11-30T06:00:00Z."""
    if not isinstance(value, str) or "T" not in value:
        return _span(value, "deadline")
    try:
        instant = datetime.datetime.fromisoformat(value)
    except ValueError:
        instant = None
    if instant is None or instant.tzinfo is None:
        raise ApiError(
            400,
            "invalid_field",
            "`deadline` is a span such as 2h, or an instant with its time zone, such as "
            "2026-11-30T06:00:00Z.",
            param="deadline",
        )
    left_s = instant.timestamp() - now_at
    if left_s <= 0:
        raise ApiError(400, "invalid_field", "`deadline` has passed already.", param="deadline")
    return _span(left_s, "deadline")


def asked_again(active: ActivePolicy, job: StoredJob, principal: Principal) -> AskedJob:
    """The same as another job, by the caller's own rights. Raises ApiError 403 for a model that is
    not for it, and 404 for one that is gone."""
    before = read_request(job.request)
    active.model(before.model, principal, before.named)
    body = before.call_body
    return AskedJob(
        model=before.model,
        task=before.task,
        body=body,
        principal=principal,
        preferences=before.preferences,
        sent=AsSent(before.named, body) if before.named else None,
        deadline_s=job.deadline - job.created_at,
        keep_s=job.keep_s,
        webhook=job.webhook,
        content_type=before.content_type,
        declared=before.declared,
        betas=before.betas,
        most_run_s=before.most_run_s,
        dialect=before.dialect,
    )


# --- questions -----------------------------------------------------------------------------------


def wait_of(parameters: Mapping[str, str]) -> float:
    """``wait=30s``: seconds, no more than connections last. Raises ApiError 400."""
    text = parameters.get("wait")
    if text is None:
        return 0.0
    try:
        seconds = float(text) if text.isdecimal() else parse_duration(text)
    except ValueError:
        raise ApiError(
            400, "invalid_parameter", "`wait` is a span such as 30s.", param="wait"
        ) from None
    return min(seconds, LONGEST_WAIT_S)


def last_event_id(context: RequestContext) -> int:
    """Raises ApiError 400 for an id that is none of ours."""
    text = context.headers.get(b"last-event-id", b"0").strip()
    if not text.isdigit() or len(text) > 18:
        raise ApiError(
            400,
            "invalid_header",
            "Last-Event-ID is the id of the last event that came, a whole number.",
            param="Last-Event-ID",
        )
    return int(text)


_LIST = frozenset(("state", "model", "user", "limit", "after"))


def jobs_query(scope: Scope, principal: Principal) -> JobsQuery:
    """Of GET /v1/jobs. A key sees its user's jobs, an admin's all. Raises ApiError 400 and 403."""
    given = query_of(scope, _LIST)
    user = given.get("user")
    if principal.role != "admin":
        if user not in (None, principal.user):
            raise ApiError(
                403,
                "admin_required",
                "Only an admin key lists another user's jobs.",
                type="permission_error",
                param="user",
            )
        user = principal.user
    return JobsQuery(
        user=user,
        states=_states(given.get("state")),
        model=given.get("model"),
        before=given.get("after"),
        most=limit_of(given, 20, _MOST_PAGE),
    )


def _states(text: str | None) -> tuple[JobState, ...]:
    if text is None:
        return ()
    names: list[Any] = [name.strip() for name in text.split(",")]
    for name in names:
        if name not in STATES:
            raise ApiError(
                400,
                "invalid_parameter",
                f"There is no state {name[:40]!r}. A job is {', '.join(STATES[:-1])} or "
                f"{STATES[-1]}.",
                param="state",
            )
    return tuple(names)
