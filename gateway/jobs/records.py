"""What is written down of a job, as JSON: what is asked, how far it has come, what came of it."""

from __future__ import annotations

import base64
from typing import Any

import msgspec

from adapters.types import JSON_TYPE, Handle, Reply, Task, Usage
from gateway.preferences import Preferences
from gateway.storage.base import LedgerRow
from gateway.types import ApiError, Principal, Unit


class JobDialect(msgspec.Struct, frozen=True, kw_only=True):
    """By which other protocol its caller has come, and is told of it."""

    name: str
    particulars: dict[str, str] = {}
    """What that one has to remember of the job."""


class JobRequest(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a caller asked."""

    model: str
    task: Task
    body: str = ""
    """What a call of the task takes; in ``base64``, where it is no text."""
    base64: str = ""
    content_type: str = JSON_TYPE
    """Of the body."""
    declared: tuple[str, str] | None = None
    """Of a route that the policy names: its method, and its path with its query."""
    betas: str = ""
    """Of a message: its header ``anthropic-beta``."""
    principal: Principal
    preferences: Preferences
    policy: str
    """The version that admitted it."""
    most_run_s: float | None = None
    """How long it may run, where that is less than its backend allows."""
    dialect: JobDialect | None = None
    named: str = ""
    """What its caller called the model, where that is another name than its own."""

    @property
    def call_body(self) -> bytes:
        return base64.b64decode(self.base64) if self.base64 else self.body.encode()


class JobSpent(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What backends cost that have failed at the job: booked when its call ends, whoever sees
    that."""

    attempts: tuple[LedgerRow, ...] = ()
    starts: tuple[LedgerRow, ...] = ()
    """Of cold starts that are nobody's to pay."""
    held: dict[Unit, int] = {}
    """What is held in all, where that is more than at its acceptance."""

    @property
    def rows(self) -> tuple[LedgerRow, ...]:
        return (*self.attempts, *self.starts)


NOTHING_SPENT = JobSpent()


class JobAttempt(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How far the job has come at a backend; one without a backend was never asked."""

    backend: str = ""
    handed: bool = False
    """The platform may have it: it must not be asked again without its handle."""
    handle: Handle | None = None
    """The platform's own job."""
    restarts: int = 0
    """How often the gateway that ran it has died."""
    spent: JobSpent = NOTHING_SPENT


class JobAnswer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the backend answered, and what that used. A JSON body stands as it came, in ``output``;
    another one in base64."""

    output: msgspec.Raw = msgspec.Raw(b"null")
    base64: str = ""
    file: str = ""
    """The stored file that has it instead, where it is large."""
    size: int = 0
    """Bytes of that."""
    content_type: str = "application/json"
    status: int = 200
    usage: Usage = Usage()

    def reply(self) -> Reply:
        body = base64.b64decode(self.base64) if self.base64 else bytes(self.output)
        return Reply(
            body=body, content_type=self.content_type, status=self.status, usage=self.usage
        )


class JobFault(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Why a job did not succeed, in the one shape that errors have."""

    message: str
    type: str
    code: str
    param: str | None = None
    status: int = 502
    """Of HTTP: what a caller is answered who has waited for the job on a connection."""

    def error(self) -> ApiError:
        """As such a caller is told it."""
        return ApiError(self.status, self.code, self.message, type=self.type, param=self.param)


_encode = msgspec.json.Encoder().encode
_request = msgspec.json.Decoder(JobRequest).decode
_attempt = msgspec.json.Decoder(JobAttempt).decode
_answer = msgspec.json.Decoder(JobAnswer).decode
_fault = msgspec.json.Decoder(JobFault).decode


def to_text(record: msgspec.Struct) -> str:
    """A record as the store keeps it."""
    return _encode(record).decode()


def kept_body(body: bytes) -> tuple[str, str]:
    """A body as text, or as what is no text in base64; the other one is empty."""
    try:
        return body.decode(), ""
    except UnicodeDecodeError:
        return "", base64.b64encode(body).decode()


def read_request(text: str) -> JobRequest:
    return _request(text)


def read_attempt(text: str) -> JobAttempt:
    """An empty text is a job that was never asked."""
    return _attempt(text) if text else JobAttempt()


def read_answer(text: str) -> JobAnswer | None:
    return _answer(text) if text else None


def read_fault(text: str) -> JobFault | None:
    return _fault(text) if text else None


def answer_of(reply: Reply) -> JobAnswer:
    """A whole answer, to be kept."""
    if "json" in reply.content_type and _is_json(reply.body):
        return JobAnswer(
            output=msgspec.Raw(reply.body),
            content_type=reply.content_type,
            status=reply.status,
            usage=reply.usage,
        )
    return JobAnswer(
        base64=base64.b64encode(reply.body).decode(),
        content_type=reply.content_type,
        status=reply.status,
        usage=reply.usage,
    )


def _is_json(body: bytes) -> bool:
    try:
        msgspec.json.decode(body, type=msgspec.Raw)
        body.decode()
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False
    return bool(body)


def fault_of(error: ApiError) -> JobFault:
    return JobFault(
        message=error.message,
        type=error.type,
        code=error.code,
        param=error.param,
        status=error.status,
    )


def output_of(answer: JobAnswer | None) -> Any:
    """What a caller sees of it: JSON as it came, anything else in base64."""
    if answer is None:
        return None
    if answer.file:
        return {
            "content_type": answer.content_type,
            "file": answer.file,
            "bytes": answer.size,
            "url": f"/v1/files/{answer.file}/content",
        }
    if answer.base64:
        return {"content_type": answer.content_type, "base64": answer.base64}
    return answer.output
