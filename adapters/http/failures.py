"""What an HTTP backend's refusal means: a status and a body become a BackendError.

What a body says is read in ``adapters/shapes``. A status alone says little, and 400 the least: it
is the request's fault only where the body speaks as an API does and names nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import msgspec

from adapters.errors import BackendError, FailureClass, Fault, Ran
from adapters.http.asked_waits import asked_to_wait
from adapters.http.response import Response, find_header, retry_after
from adapters.http.stated_usage import told, usage_in
from adapters.settings import Secret
from adapters.shapes.error_words import ErrorWords, error_words, words_of
from adapters.shapes.json_texts import read_if
from adapters.types import Usage

MAX_MESSAGE = 500
"""Characters of a backend's own words that a caller is shown."""
_OUR_HEAD = frozenset((406, 411, 412, 414, 416, 417, 421, 426, 428, 431))
"""About a request's line and headers, which no caller writes; nothing ran."""
_BY_STATUS = {
    **dict.fromkeys(_OUR_HEAD, FailureClass.FAILED),
    400: FailureClass.INVALID,
    401: FailureClass.CREDENTIAL,
    402: FailureClass.QUOTA,
    403: FailureClass.CREDENTIAL,
    404: FailureClass.GONE,
    405: FailureClass.UNSUPPORTED,
    407: FailureClass.CREDENTIAL,
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
    460: FailureClass.AMBIGUOUS,
    499: FailureClass.AMBIGUOUS,
    504: FailureClass.TIMEOUT,
    **dict.fromkeys((520, 521, 522, 523, 525, 526, 527, 530), FailureClass.AMBIGUOUS),
    524: FailureClass.TIMEOUT,
    529: FailureClass.OVERLOADED,
    598: FailureClass.TIMEOUT,
}
"""520 and above are those of a network's edge, which does not know what became of the call behind
it (https://developers.cloudflare.com/support/troubleshooting/http-status-codes/); 460 and 499 are
those of a load balancer and a proxy that lost us; 529 is Anthropic's overload."""
_SUSPECT = frozenset((402, 403, 404, 409, 410, 413, 422, 423, 429, *range(300, 400))) | (
    frozenset(range(400, 500)) - _BY_STATUS.keys()
)
"""What a server answers to one request that asks for too much or for what is not there, and as well
to every request when something is wrong with itself; a redirect, which may be of one request or of
all; and whatever 4xx says neither."""
OUR_MATTER = {
    FailureClass.CREDENTIAL: "The backend refused the gateway's credentials.",
    FailureClass.GONE: "The backend does not have this endpoint or model.",
}
"""Failures whose cause lies between the gateway and the backend: the caller is told no more."""
_LOADING = re.compile(r"\b(load(ing)?|start(ing|up)?|warm(ing)?|initiali[sz]ing|not ready)\b", re.I)
_TRACEBACK = re.compile(r"\s*\n?(Traceback \(most recent call last\)|traceback:).*", re.S)
_TOO_LONG = re.compile(
    r"maximum context length|context[ _](length|window|size)|prompt is too long"
    r"|input is too long|tokens \+ .?max_new_tokens.? must be|maximum (input|sequence) length"
    r"|too many (input )?tokens"
    r"|exceeds? the (model'?s? )?(maximum|max) (number of )?(input )?tokens",
    re.I,
)
"""As vLLM, TGI, SGLang, llama.cpp, OpenAI, Anthropic and others say it, beside no code or their
own."""
_FLAGGED = re.compile(
    r"\bflagged\b|\bmoderation\b|content (management )?(policy|filter)|safety (system|polic)"
    r"|usage polic",
    re.I,
)
_BY_CODE = {
    "insufficient_quota": FailureClass.QUOTA,
    "insufficient_funds": FailureClass.QUOTA,
    "insufficient_credits": FailureClass.QUOTA,
    "billing_hard_limit_reached": FailureClass.QUOTA,
    "billing_error": FailureClass.QUOTA,
    "invalid_api_key": FailureClass.CREDENTIAL,
    "API_KEY_INVALID": FailureClass.CREDENTIAL,
    "UNAUTHENTICATED": FailureClass.CREDENTIAL,
    "PERMISSION_DENIED": FailureClass.CREDENTIAL,
    "model_not_found": FailureClass.GONE,
    "rate_limit_exceeded": FailureClass.OVERLOADED,
    "rate_limit_error": FailureClass.OVERLOADED,
    "BadRequestError": FailureClass.INVALID,
    "UnprocessableEntityError": FailureClass.INVALID,
    "NotFoundError": FailureClass.GONE,
    "not_found_error": FailureClass.GONE,
    "invalid_request_error": FailureClass.INVALID,
    "context_length_exceeded": FailureClass.CONTEXT_TOO_LONG,
    "context_window_exceeded": FailureClass.CONTEXT_TOO_LONG,
    "exceed_context_size_error": FailureClass.CONTEXT_TOO_LONG,
    "string_above_max_length": FailureClass.CONTEXT_TOO_LONG,
    "content_policy_violation": FailureClass.FLAGGED,
    "content_filter": FailureClass.FLAGGED,
    "content_filtered": FailureClass.FLAGGED,
    "moderation_blocked": FailureClass.FLAGGED,
    "invalid_prompt": FailureClass.FLAGGED,
    "authentication_error": FailureClass.CREDENTIAL,
    "permission_error": FailureClass.CREDENTIAL,
    "forbidden": FailureClass.CREDENTIAL,
    "not_found": FailureClass.GONE,
    "request_too_large": FailureClass.TOO_LARGE,
    "overloaded": FailureClass.OVERLOADED,
    "overloaded_error": FailureClass.OVERLOADED,
    "validation": FailureClass.INVALID,
}
_NO_ROOM = re.compile(
    r"queue is full|model is overloaded|no slots? (is |are )?available"
    r"|engine is (currently )?overloaded|server is (busy|overloaded)",
    re.I,
)
"""As SGLang, TGI and its sibling for embeddings, llama.cpp and others say that they have no room
for anybody, whatever status it comes with."""
_BAD, _TOO_MANY = 400, 429
_SUSPECT_CODES = {
    "rate_limit_exceeded", "rate_limit_error", "model_not_found", "not_found", "not_found_error",
    "NotFoundError", "permission_error", "permission_denied", "PermissionDeniedError", "forbidden",
    "PERMISSION_DENIED",
}  # fmt: skip
"""Codes and types that say the same in an answer whose status is good."""
_OF_KEYS = re.compile(
    r"\b(api|access|auth\w*|secret|subscription|license)[ _-]?(key|token)s?\b|\bcredentials?\b"
    r"|\bun?auth(ori[sz]|entic)|\bnot authori[sz]ed|\bpermission[ _]denied|\baccess[ _]denied",
    re.I,
)
_OF_MONEY = re.compile(
    r"\b(billing|payments?|prepaid|invoices?|arrear\w*|overdue|good standing)\b"
    r"|\bspend(ing)? (limit|cap)\b|\bcredits? (balance|limit)|\binsufficient[ _](quota|balance)"
    r"|\b(no|out of|insufficient|not enough|remaining) (credit|fund|balance)"
    r"|\baccount (is |has been |was )?(suspended|disabled|deactivated)",
    re.I,
)
"""What is between the gateway and its provider, whoever asked."""
_LIMITED = re.compile(
    r"rate[ _-]?limit|too[ _-]?many[ _-]?requests|resource[ _-]?exhausted|throttl", re.I
)
_BEATS_STATUS = frozenset((FailureClass.QUOTA, FailureClass.CONTEXT_TOO_LONG, FailureClass.FLAGGED))
"""What a code says more exactly than whatever status it comes with."""


def classify(status: int, body: bytes = b"") -> FailureClass:
    """The class of a status that is no success, by what the body says where that helps."""
    return _class_of(status, words_of(body))


def classify_error(error: Any) -> FailureClass:
    """The class of an error object inside an answer whose status was 200."""
    return _class_in_answer(error_words(error))


def _named(said: ErrorWords) -> FailureClass | None:
    """The class that the code, the type or the reason names."""
    for word in (said.reason, said.code, said.type):
        if word is not None and (kind := _BY_CODE.get(word)) is not None:
            return kind
    names = f"{said.code or ''} {said.type or ''}"
    return FailureClass.OVERLOADED if _LIMITED.search(names) else None


def _class_of(status: int, said: ErrorWords) -> FailureClass:
    named = _named(said)
    if named in _BEATS_STATUS:
        return named
    if status in (400, 413, 422) and _TOO_LONG.search(said.message):
        return FailureClass.CONTEXT_TOO_LONG
    if status in (400, 403, 422, 451) and _FLAGGED.search(said.message):
        return FailureClass.FLAGGED
    if status == 400:
        return _class_of_400(said, named)
    if status == 503 and _LOADING.search(said.message):
        return FailureClass.LOADING
    if (kind := _BY_STATUS.get(status)) is not None:
        return kind
    if 300 <= status < 400:
        return FailureClass.GONE
    return FailureClass.INVALID if status < 500 else FailureClass.FAILED


def _class_of_400(said: ErrorWords, named: FailureClass | None) -> FailureClass:
    """Some servers answer it to whatever they refuse, so each word says more."""
    if named not in (None, FailureClass.INVALID):
        return named
    if _OF_KEYS.search(said.message):
        return FailureClass.CREDENTIAL
    return FailureClass.QUOTA if _OF_MONEY.search(said.message) else FailureClass.INVALID


def _class_in_answer(said: ErrorWords) -> FailureClass:
    if said.status is not None:
        return _class_of(said.status, said)
    named = _named(said)
    if named in (None, FailureClass.INVALID) and _TOO_LONG.search(said.message):
        return FailureClass.CONTEXT_TOO_LONG
    if named is None and _LIMITED.search(said.message):
        return FailureClass.OVERLOADED
    return named or FailureClass.FAILED


def failure_in(
    error: Any,
    *,
    secrets: Sequence[Secret] = (),
    otherwise: str = "The backend answered with an error.",
    usage: Usage | None = None,
) -> BackendError:
    """What an error inside an answer whose status was 200 means: OpenAI's error object, a text, or
    the flat object of older vLLM. ``otherwise`` is the message where it has none."""
    said = error_words(error)
    kind, status = _class_in_answer(said), said.status
    if status is None and kind is FailureClass.OVERLOADED:
        limited = _LIMITED.search(f"{said.code or ''} {said.type or ''} {said.message}")
        status = None if limited is None else _TOO_MANY
    return _refusal(
        kind,
        said,
        status,
        secrets,
        otherwise=otherwise,
        usage=usage,
        retry_after=asked_to_wait(error) if kind is FailureClass.OVERLOADED else None,
    )


def _refusal(
    kind: FailureClass,
    said: ErrorWords,
    status: int | None,
    secrets: Sequence[Secret],
    *,
    otherwise: str,
    usage: Usage | None = None,
    retry_after: float | None = None,
    detail: str = "",
) -> BackendError:
    words = clean(said.message, secrets)
    certain = kind in (FailureClass.CONTEXT_TOO_LONG, FailureClass.FLAGGED) or (
        kind is FailureClass.OVERLOADED and _NO_ROOM.search(words) is not None
    )
    suspect = not certain and _is_suspect(kind, said, status)
    if status == _BAD and kind is FailureClass.QUOTA:
        status = None  # no caller is told that his request is bad where our account is empty
    return BackendError(
        kind,
        OUR_MATTER.get(kind) or words or otherwise,
        retry_after=retry_after,
        usage=usage,
        param=None if said.param is None else clean(said.param, secrets),
        detail=detail or words,
        fault=Fault.SUSPECT if suspect else None,
        ran=Ran.NO if status in _OUR_HEAD else None,
        status=status,
        code=None if said.code is None else clean(said.code, secrets),
        type=None if said.type is None else clean(said.type, secrets),
    )


def _is_suspect(kind: FailureClass, said: ErrorWords, status: int | None) -> bool:
    """Whether it may be the request's fault or the backend's: nobody can tell by one answer. Of a
    400 in words of no API that is so, and of words about keys, which a caller may have written."""
    if status is None:
        return not _SUSPECT_CODES.isdisjoint((said.code, said.type))
    if status != _BAD:
        return status in _SUSPECT
    if kind is FailureClass.INVALID:
        return said.is_mute
    return kind is not FailureClass.CREDENTIAL or _named(said) is not kind


def cleaned(
    error: BackendError, secrets: Sequence[Secret] = (), usage: Usage | None = None
) -> BackendError:
    """The same failure, with all that it says fit for a caller, and what the call used."""
    return error.reworded(lambda words: clean(words, secrets), usage)


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
    said = words_of(body)
    return _refusal(
        _class_of(status, said),
        said,
        status,
        secrets,
        otherwise=f"The backend answered with status {status}.",
        usage=_stated(body),
        retry_after=retry_after(headers, now),
        detail=f"HTTP {status}: {clean(_redirect(status, headers) or said.message, secrets)}",
    )


class _Whole(msgspec.Struct, frozen=True):
    usage: dict[str, Any] = {}


def _stated(body: bytes) -> Usage | None:
    """What a refusal says that was used all the same."""
    whole = read_if(body, _Whole)
    used = None if whole is None else usage_in(whole.usage)
    return None if used is None or not told(used) else used


def _redirect(status: int, headers: list[tuple[bytes, bytes]]) -> str:
    """Where a redirect leads, without what its query may hold; empty where it is none."""
    place = find_header(headers, b"location") if 300 <= status < 400 else None
    if not place:
        return ""
    return f"it redirects to {place.partition('?')[0]}, and no call is sent after a redirect"


def asked_by(error: BackendError, headers: list[tuple[bytes, bytes]], now: float) -> BackendError:
    """What an error inside an answer means whose ``headers`` may ask to be left alone for a while.
    ``now``: seconds since 1970."""
    passing = error.failure in (FailureClass.OVERLOADED, FailureClass.LOADING)
    if passing and error.retry_after is None:
        error.retry_after = retry_after(headers, now)
    return error


def refused(response: Response, *, now: float, secrets: Sequence[Secret] = ()) -> BackendError:
    """The same for a whole answer."""
    return refusal(response.status, response.headers, response.body, now=now, secrets=secrets)
