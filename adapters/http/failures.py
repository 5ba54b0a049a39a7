"""What an HTTP backend's refusal means: a status and a body become a BackendError.

Shapes that are read (each met in the wild): OpenAI's ``{"error": {"message", "type", "code"}}``
with a string or, from vLLM, an integer code; ``{"error": "text"}``; FastAPI's
``{"detail": "text"}`` and ``{"detail": [{"loc", "msg"}]}``; problem JSON (RFC 9457)
``{"title", "detail"}``; older vLLM's flat ``{"object": "error", "message", "code"}``; plain text.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, TypeVar

import msgspec

from adapters.errors import BackendError, FailureClass, Fault, Ran, malformed
from adapters.http.response import Response, find_header, retry_after
from adapters.settings import Secret
from adapters.types import Usage

T = TypeVar("T")

MAX_MESSAGE = 500
"""Characters of a backend's own words that a caller is shown."""
MAX_WORD = 100
"""Characters of a code, a type or the name of a field that are kept."""
UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What decoding raises for bytes that are no JSON of a type: they may also be no UTF-8, or nest too
deeply."""

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
_SUSPECT = frozenset((402, 403, 404, 409, 410, 413, 422, 423, 429)) | (
    frozenset(range(400, 500)) - _BY_STATUS.keys()
)
"""What a server answers to one request that asks for too much or for what is not there, and as well
to every request when something is wrong with itself; and whatever 4xx says neither."""
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
_SUSPECT_CODES = {
    "rate_limit_exceeded", "rate_limit_error", "model_not_found", "not_found", "not_found_error",
    "NotFoundError", "permission_error", "permission_denied", "PermissionDeniedError", "forbidden",
}  # fmt: skip
"""Codes and types that say the same in an answer whose status is good."""
_BEATS_STATUS = frozenset((FailureClass.QUOTA, FailureClass.CONTEXT_TOO_LONG, FailureClass.FLAGGED))
"""What a code says more exactly than whatever status it comes with."""


class ErrorWords(msgspec.Struct, frozen=True):
    """What a backend's error says, in any of the known shapes; what it does not say is None."""

    message: str = ""
    code: str | None = None
    type: str | None = None
    param: str | None = None

    @property
    def status(self) -> int | None:
        """The status that stands in the place of a code."""
        code = self.code
        known = code is not None and len(code) == 3 and code.isascii() and code.isdigit()
        return int(code or "") if known and code is not None and code >= "300" else None

    def named(self) -> FailureClass | None:
        """The class that the code or the type names."""
        return _BY_CODE.get(self.code or "") or _BY_CODE.get(self.type or "")


def words_of(body: bytes) -> ErrorWords:
    """What a refusal's body says."""
    try:
        value = msgspec.json.decode(body)
    except UNREADABLE:
        return ErrorWords(message_of(body))
    return error_words(value)


def error_words(value: Any) -> ErrorWords:
    """The same of a decoded body, or of an error object out of one."""
    found = value.get("error") or _first(value.get("errors")) if isinstance(value, dict) else None
    inner = found if isinstance(found, dict) else value
    message = words_in(value)
    if not isinstance(inner, dict):
        return ErrorWords(message)
    return ErrorWords(
        message, _word(inner.get("code")), _word(inner.get("type")), _param(inner, value)
    )


def _word(value: Any) -> str | None:
    if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
        return None
    return str(value)[:MAX_WORD]


def _param(inner: dict[str, Any], outer: Any) -> str | None:
    """The field at fault: OpenAI's ``param``, or the place in FastAPI's list."""
    if isinstance(named := inner.get("param"), str):
        return named[:MAX_WORD]
    first = _first(outer.get("detail")) if isinstance(outer, dict) else None
    place = first.get("loc") if isinstance(first, dict) else None
    if not isinstance(place, list):
        return None
    return ".".join(str(part) for part in place if part != "body")[:MAX_WORD] or None


def _first(several: Any) -> Any:
    return several[0] if isinstance(several, list) and several else None


def classify(status: int, body: bytes = b"") -> FailureClass:
    """The class of a status that is no success, by what the body says where that helps."""
    return _class_of(status, words_of(body))


def classify_error(error: Any) -> FailureClass:
    """The class of an error object inside an answer whose status was 200."""
    return _class_in_answer(error_words(error))


def _class_of(status: int, said: ErrorWords) -> FailureClass:
    named = said.named()
    if named in _BEATS_STATUS:
        return named
    if status in (400, 413, 422) and _TOO_LONG.search(said.message):
        return FailureClass.CONTEXT_TOO_LONG
    if status in (400, 403, 422, 451) and _FLAGGED.search(said.message):
        return FailureClass.FLAGGED
    if status == 503 and _LOADING.search(said.message):
        return FailureClass.LOADING
    if (kind := _BY_STATUS.get(status)) is not None:
        return kind
    if 300 <= status < 400:
        return FailureClass.GONE
    return FailureClass.INVALID if status < 500 else FailureClass.FAILED


def _class_in_answer(said: ErrorWords) -> FailureClass:
    if said.status is not None:
        return _class_of(said.status, said)
    named = said.named()
    if named in (None, FailureClass.INVALID) and _TOO_LONG.search(said.message):
        return FailureClass.CONTEXT_TOO_LONG
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
    kind = _class_in_answer(said)
    return _refusal(kind, said, said.status, secrets, otherwise=otherwise, usage=usage)


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
    named = status is None and not _SUSPECT_CODES.isdisjoint((said.code, said.type))
    suspect = named or status in _SUSPECT
    return BackendError(
        kind,
        OUR_MATTER.get(kind) or words or otherwise,
        retry_after=retry_after,
        usage=usage,
        param=None if said.param is None else clean(said.param, secrets),
        detail=detail or words,
        fault=Fault.SUSPECT if suspect and not certain else None,
        ran=Ran.NO if status in _OUR_HEAD else None,
        status=status,
        code=None if said.code is None else clean(said.code, secrets),
        type=None if said.type is None else clean(said.type, secrets),
    )


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
        for field in ("error", "errors", "message", "detail", "error_message", "title", "msg"):
            if value.get(field):
                return words_in(value[field])
    return ""


def _validation(item: Any) -> str:
    """One entry of FastAPI's list of validation errors."""
    if not isinstance(item, dict) or "msg" not in item:
        return words_in(item)
    place = ".".join(str(part) for part in item.get("loc", ()) if part != "body")
    return f"{place}: {item['msg']}" if place else str(item["msg"])


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
        retry_after=retry_after(headers, now),
        detail=f"HTTP {status}: {clean(_redirect(status, headers) or said.message, secrets)}",
    )


def _redirect(status: int, headers: list[tuple[bytes, bytes]]) -> str:
    """Where a redirect leads, without what its query may hold; empty where it is none."""
    place = find_header(headers, b"location") if 300 <= status < 400 else None
    if not place:
        return ""
    return f"it redirects to {place.partition('?')[0]}, and no call is sent after a redirect"


def refused(response: Response, *, now: float, secrets: Sequence[Secret] = ()) -> BackendError:
    """The same for a whole answer."""
    return refusal(response.status, response.headers, response.body, now=now, secrets=secrets)


# --- JSON that may be none ------------------------------------------------------------------------


def read(
    body: bytes | msgspec.Raw,
    kind: type[T],
    message: str = "The backend's answer could not be read.",
    usage: Usage | None = None,
) -> T:
    """A platform's JSON as a value of a type. Raises MALFORMED with ``message`` for anything else:
    ``usage`` is what the call used all the same, and the decoder's own words are the detail."""
    try:
        return msgspec.json.decode(body, type=kind)
    except UNREADABLE as error:
        raise malformed(message, usage=usage, detail=str(error)) from None


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
