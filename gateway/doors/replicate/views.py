"""Predictions as they are told, and what is wrong. Pure."""

from __future__ import annotations

from typing import Any

import msgspec

from gateway.api.requests.door import ToldError
from gateway.doors.replicate.models import full_name, version_of
from gateway.doors.replicate.prompts import texts_of
from gateway.jobs.records import (
    JobDialect,
    JobRequest,
    output_of,
    read_answer,
    read_fault,
    read_request,
)
from gateway.money.text import iso, iso_or_none
from gateway.storage.jobs.base import StoredJob
from gateway.storage.jobs.states import ENDED, JobState
from gateway.types import ApiError

DIALECT = "replicate"
PROMPT = "prompt"
"""The particular that has the input as it was, where a chat was made of it."""
_STATES: dict[JobState, str] = {
    "queued": "starting",
    "starting": "starting",
    "running": "processing",
    "succeeded": "succeeded",
    "failed": "failed",
    "canceled": "canceled",
    "expired": "failed",
}
_TITLES = {
    400: "Bad request",
    401: "Unauthenticated",
    402: "Insufficient credit",
    403: "Permission denied",
    404: "Not found",
    405: "Method not allowed",
    413: "Payload too large",
    422: "Input validation failed",
    429: "Too many requests",
    501: "Not implemented",
    503: "Service unavailable",
}


def status_of(job: StoredJob) -> str:
    return _STATES[job.state]


def shown(job: StoredJob) -> dict[str, Any]:
    """A prediction as GET has it, its output once it has succeeded."""
    request = read_request(job.request)
    dialect = request.dialect or JobDialect(name=DIALECT)
    told, fault = dialect.particulars, read_fault(job.error) if job.state in ENDED else None
    return {
        "id": job.id,
        "model": told.get("model", full_name(job.model)),
        "version": told.get("version", version_of(job.model)),
        "input": _input(request, told),
        "logs": "",
        "output": output(job, prompt=PROMPT in told),
        "data_removed": job.state == "succeeded" and not job.answer,
        "error": None if fault is None else fault.message,
        "status": status_of(job),
        "source": "api",
        "created_at": iso(job.created_at, "milliseconds"),
        "started_at": iso_or_none(job.started_at, "milliseconds"),
        "completed_at": iso_or_none(job.ended_at, "milliseconds"),
        "metrics": _metrics(job),
        "urls": urls(told.get("base", ""), job.id),
    }


def output(job: StoredJob, *, prompt: bool) -> Any:
    answer = read_answer(job.answer) if job.state == "succeeded" else None
    if answer is None:
        return None
    return texts_of(answer) if prompt else output_of(answer)


def _input(request: JobRequest, told: dict[str, str]) -> Any:
    if PROMPT in told:
        return msgspec.Raw(told[PROMPT].encode())
    if request.task == "infer":
        return msgspec.Raw(request.body.encode())
    body: dict[str, msgspec.Raw] = msgspec.json.decode(request.body, type=dict[str, msgspec.Raw])
    return {name: value for name, value in body.items() if name != "model"}


def urls(base: str, id: str) -> dict[str, str]:
    """``base``: where the client reaches this door."""
    get = f"{base}/predictions/{id}"
    return {"get": get, "cancel": f"{get}/cancel", "stream": f"{get}/stream"}


def _metrics(job: StoredJob) -> dict[str, float]:
    if job.ended_at is None:
        return {}
    found = {"total_time": round(job.ended_at - job.created_at, 3)}
    if job.started_at is not None:
        found["predict_time"] = round(max(0.0, job.ended_at - job.started_at), 3)
    return found


def told(error: ApiError) -> ToldError:
    """A problem as the platform tells it: what is wrong with a field is 422 there."""
    status = 422 if error.status == 400 and error.param else error.status
    body: dict[str, Any] = {
        "title": _TITLES.get(status, "Internal server error"),
        "detail": error.message,
        "status": status,
        "type": error.code,
    }
    if status == 422:
        found = {"type": error.code, "field": error.param, "description": error.message}
        body["invalid_fields"] = [found]
    return ToldError(status, body)
