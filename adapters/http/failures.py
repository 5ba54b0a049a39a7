"""What an HTTP backend's refusal means: a status and a body become a BackendError.

Shapes that are read (each met in the wild): OpenAI's ``{"error": {"message", "type", "code"}}``
with a string or, from vLLM, an integer code; ``{"error": "text"}``; FastAPI's
``{"detail": "text"}`` and ``{"detail": [{"loc", "msg"}]}``; problem JSON (RFC 9457)
``{"title", "detail"}``; older vLLM's flat ``{"object": "error", "message", "code"}``; plain text.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

import msgspec

from adapters.errors import BackendError, FailureClass
from adapters.http.response import Response, find_header
from adapters.settings import Secret
from adapters.types import Usage

T = TypeVar("T")

MAX_MESSAGE = 500
"""Characters of a backend's own words that a caller is shown."""
LONGEST_RETRY_S = 86_400.0
"""A backend that asks to be left alone for longer is not believed."""
UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What decoding raises for bytes that are no JSON of a type: they may also be no UTF-8, or nest too
deeply."""

_BY_STATUS = {
    400: FailureClass.INVALID,
    401: FailureClass.CREDENTIAL,
    402: FailureClass.CREDENTIAL,
    403: FailureClass.CREDENTIAL,
    404: FailureClass.GONE,
    405: FailureClass.UNSUPPORTED,
    408: FailureClass.TIMEOUT,
    409: FailureClass.OVERLOADED,
    410: FailureClass.GONE,
    413: FailureClass.TOO_LARGE,
    415: FailureClass.UNSUPPORTED,
    422: FailureClass.INVALID,
    423: FailureClass.OVERLOADED,
    424: FailureClass.FAILED,
    425: FailureClass.LOADING,
    429: FailureClass.OVERLOADED,
    501: FailureClass.UNSUPPORTED,
    503: FailureClass.OVERLOADED,
    504: FailureClass.TIMEOUT,
}
_OUR_MATTER = {
    FailureClass.CREDENTIAL: "The backend refused the gateway's credentials.",
    FailureClass.GONE: "The backend does not have this endpoint or model.",
}
"""Failures whose cause lies between the gateway and the backend: the caller is told no more."""
_LOADING = re.compile(r"\b(load(ing)?|start(ing|up)?|warm(ing)?|initiali[sz]ing|not ready)\b", re.I)
_TRACEBACK = re.compile(r"\s*\n?(Traceback \(most recent call last\)|traceback:).*", re.S)
_BY_CODE = {
    "insufficient_quota": FailureClass.CREDENTIAL,
    "invalid_api_key": FailureClass.CREDENTIAL,
    "model_not_found": FailureClass.GONE,
    "rate_limit_exceeded": FailureClass.OVERLOADED,
    "BadRequestError": FailureClass.INVALID,
    "UnprocessableEntityError": FailureClass.INVALID,
    "NotFoundError": FailureClass.GONE,
    "invalid_request_error": FailureClass.INVALID,
    "context_length_exceeded": FailureClass.INVALID,
    "authentication_error": FailureClass.CREDENTIAL,
    "forbidden": FailureClass.CREDENTIAL,
    "not_found": FailureClass.GONE,
    "overloaded": FailureClass.OVERLOADED,
    "validation": FailureClass.INVALID,
}


def classify(status: int, body: bytes = b"") -> FailureClass:
    """The class of a status that is no success, by what the body says where that helps."""
    kind = _BY_STATUS.get(status)
    if status == 503 and _LOADING.search(message_of(body)):
        return FailureClass.LOADING
    if status == 429 and b"insufficient_quota" in body:
        return FailureClass.CREDENTIAL
    if kind is None:
        if 300 <= status < 400:
            return FailureClass.GONE
        return FailureClass.INVALID if status < 500 else FailureClass.FAILED
    return kind


def classify_error(error: Any) -> FailureClass:
    """The class of an error object inside an answer whose status was 200."""
    if not isinstance(error, dict):
        return FailureClass.FAILED
    code = error.get("code")
    if isinstance(code, str) and code.isdecimal():
        code = int(code)
    if isinstance(code, int) and 300 <= code < 600:
        return classify(code)
    for word in (code, error.get("type")):
        if isinstance(word, str) and word in _BY_CODE:
            return _BY_CODE[word]
    return FailureClass.FAILED


def message_of(body: bytes) -> str:
    """A backend's own words for what went wrong, from any of the known shapes; may be empty."""
    try:
        value = msgspec.json.decode(body)
    except UNREADABLE:
        text = body[:4096].decode("utf-8", "replace").strip()
        return "" if text.startswith("<") else text
    return words_in(value)


def words_in(value: Any) -> str:
    """The first words for people in a decoded error of any of the known shapes; may be empty."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return "; ".join(filter(None, (_validation(item) for item in value[:3])))
    if isinstance(value, dict):
        for field in ("error", "message", "detail", "error_message", "title", "msg"):
            if value.get(field):
                return words_in(value[field])
    return ""


def _validation(item: Any) -> str:
    """One entry of FastAPI's list of validation errors."""
    if not isinstance(item, dict) or "msg" not in item:
        return words_in(item)
    place = ".".join(str(part) for part in item.get("loc", ()) if part != "body")
    return f"{place}: {item['msg']}" if place else str(item["msg"])


def clean(message: str, secrets: Sequence[Secret] = ()) -> str:
    """A message fit for a caller: no traceback, none of the secrets, not long."""
    message = _TRACEBACK.sub("", message).strip()
    for secret in secrets:
        message = message.replace(secret.reveal(), "***")
    return message if len(message) <= MAX_MESSAGE else message[: MAX_MESSAGE - 1] + "…"


def refusal(
    status: int,
    headers: list[tuple[bytes, bytes]],
    body: bytes,
    *,
    now: float,
    secrets: Sequence[Secret] = (),
) -> BackendError:
    """The error for an answer that is no success. ``now``: seconds since 1970, for Retry-After."""
    kind = classify(status, body)
    said = clean(message_of(body), secrets)
    message = _OUR_MATTER.get(kind) or said or f"The backend answered with status {status}."
    return BackendError(
        kind, message, retry_after=retry_after(headers, now), detail=f"HTTP {status}: {said}"
    )


def refused(response: Response, *, now: float, secrets: Sequence[Secret] = ()) -> BackendError:
    """The same for a whole answer."""
    return refusal(response.status, response.headers, response.body, now=now, secrets=secrets)


def retry_after(headers: list[tuple[bytes, bytes]], now: float) -> float | None:
    """Seconds, from ``retry-after-ms`` or ``Retry-After`` (a number or a date, RFC 9110); a day at
    most."""
    try:
        seconds = _asked_to_wait(headers, now)
    except (ValueError, OverflowError, TypeError, IndexError):
        return None
    return None if seconds is None else min(max(0.0, seconds), LONGEST_RETRY_S)


def _asked_to_wait(headers: list[tuple[bytes, bytes]], now: float) -> float | None:
    if (milliseconds := find_header(headers, b"retry-after-ms")) is not None:
        return float(milliseconds) / 1000
    value = find_header(headers, b"retry-after")
    if value is None:
        return None
    if value.strip().replace(".", "", 1).isdigit():
        return float(value)
    return parsedate_to_datetime(value).timestamp() - now


# --- JSON that may be none ------------------------------------------------------------------------


def read(
    body: bytes | msgspec.Raw,
    kind: type[T],
    message: str = "The backend's answer could not be read.",
    usage: Usage | None = None,
) -> T:
    """A platform's JSON as a value of a type. Raises FAILED with ``message`` for anything else:
    ``usage`` is what the call used all the same, and the decoder's own words are the detail."""
    try:
        return msgspec.json.decode(body, type=kind)
    except UNREADABLE as error:
        raise BackendError(FailureClass.FAILED, message, usage=usage, detail=str(error)) from None


def read_input(body: bytes | msgspec.Raw, kind: type[T], message: str) -> T:
    """A caller's JSON as a value of a type. Raises INVALID with ``message`` and the decoder's own
    words for anything else."""
    try:
        return msgspec.json.decode(body, type=kind)
    except UNREADABLE as error:
        raise BackendError(FailureClass.INVALID, f"{message}: {error}") from None


def read_if(body: bytes | str | msgspec.Raw, kind: type[T]) -> T | None:
    """The same for what may be of that type or not: None where it is not."""
    try:
        return msgspec.json.decode(body, type=kind)
    except UNREADABLE:
        return None
