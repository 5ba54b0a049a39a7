"""Whether an answer whose status is good is an answer: the one place that says so. Pure.

    {"choices": [...]}, {"data": [...]}          an answer, whatever stands beside it
    "error": null, "", {}, [], false, 0          no error
    "error" with anything in it                  that error, by its code or type
    {"object": "error", "message", "code"}       the same, flat
    a choice with an error, or that ended in     an error, that of the choice where it has one
    "error" or "abort"
    {"choices": []}                              MALFORMED: nothing was said
    a web page, nothing, no JSON, another shape  MALFORMED

Of a call to ``infer`` the answer is the handler's own, so it is held only to what it says it is.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import msgspec

from adapters.errors import BackendError, FailureClass, malformed
from adapters.http import failures
from adapters.http.failures import UNREADABLE, classify_error, clean, read_if, words_in
from adapters.http.odd_json import mended
from adapters.http.plain_answers import BROKEN, may_be_broken, plain_usage
from adapters.http.response import Response
from adapters.http.stated_usage import read_usage, with_stated
from adapters.http.token_counts import tokens_made
from adapters.images import image_kind
from adapters.settings import Secret
from adapters.types import Reply, Task, Usage

_REFUSED = 400
_EMPTY = re.compile(rb"\[\s*\]")
_NOTHING = frozenset((b"null", b'""', b"{}", b"[]", b"false", b"0"))
_ABSENT = msgspec.Raw(b"null")
_NO_ANSWER = "The backend's answer is not what was asked for."
_FAILED = "The backend answered with an error."
_IMAGE = re.compile(rb'\[\s*\{[^{}\[]*?"(url|b64_json)"\s*:')
_LOOKED_AT = 4096
"""Bytes of a list in which the first of its images says that it is one."""


class _Whole(msgspec.Struct):
    """All of it is read for what it is only where it matters: no field's type may decide."""

    choices: msgspec.Raw = _ABSENT
    data: msgspec.Raw = _ABSENT
    usage: msgspec.Raw = _ABSENT
    usage_metadata: msgspec.Raw = msgspec.field(default=_ABSENT, name="usageMetadata")
    error: msgspec.Raw = _ABSENT
    object: msgspec.Raw = _ABSENT
    size: msgspec.Raw = _ABSENT
    quality: msgspec.Raw = _ABSENT


_decoder = msgspec.json.Decoder(_Whole)


def usage_of_answer(body: bytes, task: Task, usage: Usage, secrets: Sequence[Secret] = ()) -> Usage:
    """The tokens that an answer of OpenAI's protocol says it used, beside what is known of it.

    Raises what an error inside it means, and MALFORMED where it is none; ``usage`` is what was used
    all the same.
    """
    said = plain_usage(body, task)
    return read_closely(body, task, usage, secrets) if said is None else with_stated(usage, said)


def read_closely(body: bytes, task: Task, usage: Usage, secrets: Sequence[Secret] = ()) -> Usage:
    """The same of an answer of any shape, whatever type its fields have."""
    whole = _read(body, usage)
    said = read_usage(whole.usage)
    used = with_stated(usage, said)
    if _may_have_failed(whole) and (failure := failure_of(_decoded(body), secrets, used)):
        raise failure
    if not _is_answer(whole, task):
        raise no_answer(_decoded(body), secrets, used)
    if said.output_tokens or task == "embeddings":
        return used
    made = tokens_made({"choices": read_if(whole.choices, Any)})
    return msgspec.structs.replace(used, text_tokens=made or None)


def check_output(body: bytes, content_type: str, usage: Usage | None = None) -> None:
    """Raises MALFORMED for what no handler of ``infer`` answers: nothing, a web page, and what says
    that it is JSON and is none."""
    if not body:
        raise malformed("The backend's answer is empty.", usage=usage)
    if "html" in content_type:
        raise malformed(_WEB_PAGE, usage=usage)
    if "json" in content_type and read_if(body, msgspec.Raw) is None:
        raise malformed(_what_it_is(body, "The backend's answer is no JSON."), usage=usage)


def output_in(response: Response, usage: Usage) -> Reply:
    """A handler's whole answer to a call of ``infer``. Raises as ``check_output``."""
    content_type = response.header(b"content-type") or "application/json"
    check_output(response.body, content_type, usage)
    return Reply(body=response.body, content_type=content_type, usage=usage)


def with_usage_told(body: bytes, usage: Usage) -> Usage:
    """With what a handler of ``infer`` tells that it used, where it does; the images of an answer
    in OpenAI's shape are counted."""
    try:
        whole = _decoder.decode(body)
    except UNREADABLE:
        return usage
    stated = whole.usage if whole.usage != _ABSENT else whole.usage_metadata
    used = with_stated(usage, read_usage(stated))
    if images := _images(whole.data):
        kind = image_kind(read_if(whole.size, Any), read_if(whole.quality, Any))
        images = images if used.images is None else used.images
        used = msgspec.structs.replace(used, images=images, image=kind)
    return used


def _images(data: msgspec.Raw) -> int:
    """How many images a list of them holds; 0 where it is a list of something else."""
    if _IMAGE.match(bytes(data)[:_LOOKED_AT]) is None:
        return 0
    return len(read_if(data, list[msgspec.Raw]) or ())


def is_error(value: msgspec.Raw) -> bool:
    """Whether the ``error`` of an answer or of an event says anything."""
    raw = bytes(value)
    return raw not in _NOTHING and not is_hollow(read_if(raw, Any))


def failure_in(
    answer: dict[str, Any], secrets: Sequence[Secret] = (), usage: Usage | None = None
) -> BackendError:
    """What the error inside an answer or an event means: OpenAI's object, a text with a type beside
    it (TGI), or the flat object of older vLLM; a code may stand beside either."""
    error = error_object(answer)
    return failures.failure_in(error, secrets=secrets, otherwise=_FAILED, usage=usage)


def error_object(answer: dict[str, Any]) -> dict[str, Any]:
    """The error of an answer, as one object with a message, a code and a type."""
    error, code = answer.get("error"), answer.get("code")
    several = answer.get("errors")
    if not error and isinstance(several, list) and several:
        error = several[0]
    if isinstance(error, dict) and error:
        return {"code": code, **error}
    if error:
        return {"message": error, "type": answer.get("error_type"), "code": code}
    status = answer.get("status")
    return {"code": status, **answer} if isinstance(status, int) else answer


def failure_of(
    said: Any, secrets: Sequence[Secret] = (), usage: Usage | None = None
) -> BackendError | None:
    """What a decoded answer, or an event of a stream, means that is an error or ended in one; None
    where it is none. ``usage`` is what was used all the same."""
    if isinstance(said, str):
        return failure_in({"error": said}, secrets, usage)
    if not isinstance(said, dict):
        return None
    error, choices = said.get("error"), said.get("choices")
    if not is_hollow(error) or said.get("object") == "error":
        return failure_in(said, secrets, usage)
    if choices:
        broken = broken_choice(choices)
        return None if broken is None else failure_in(broken, secrets, usage)
    if isinstance(error, dict) and error:
        return failure_in(said, secrets, usage)
    return no_answer(said, secrets, usage) if _complains(said) else None


def _complains(said: dict[str, Any]) -> bool:
    """Whether what is no answer says that something failed, in a shape of the server's own."""
    status = said.get("status")
    return (
        said.get("type") == "error"
        or not is_hollow(said.get("errors"))
        or not is_hollow(said.get("detail"))
        or (isinstance(status, int) and status >= _REFUSED)
    )


def is_broken(finish_reason: str | None) -> bool:
    """Whether a choice ended because the server failed: one that says so is no answer, or a cut
    one."""
    return finish_reason in BROKEN


def broken_choice(choices: Any) -> dict[str, Any] | None:
    """The first choice of several that holds an error or ended because the server failed, as an
    answer with an error."""
    for choice in choices if isinstance(choices, list) else ():
        if not isinstance(choice, dict):
            continue
        error, reason = choice.get("error"), choice.get("finish_reason")
        ended = isinstance(reason, str) and is_broken(reason)
        if ended or not is_hollow(error):
            return {"error": error or {"message": f"The backend's answer ended in {reason!r}."}}
    return None


def no_answer(
    said: Any, secrets: Sequence[Secret] = (), usage: Usage | None = None
) -> BackendError:
    """What JSON means that is no answer: an error in a shape of the server's own, where it has a
    code or a type that says which."""
    answer = said if isinstance(said, dict) else {}
    kind = classify_error(error_object(answer))
    if kind is FailureClass.FAILED:
        return malformed(clean(words_in(answer), secrets) or _NO_ANSWER, usage=usage)
    return failure_in(answer, secrets, usage)


def _read(body: bytes, usage: Usage) -> _Whole:
    try:
        return _decoder.decode(body)
    except UNREADABLE as error:
        if (again := mended(body)) is not body:
            return _read(again, usage)
        raise malformed(_what_it_is(body), usage=usage, detail=str(error)) from None


def _is_answer(whole: _Whole, task: Task) -> bool:
    if task == "embeddings":
        return bytes(whole.data).startswith(b"[")
    choices = bytes(whole.choices)
    return choices.startswith(b"[") and not _EMPTY.fullmatch(choices)


def _may_have_failed(whole: _Whole) -> bool:
    """Whether it is worth a closer look."""
    if bytes(whole.error) != b"null" or bytes(whole.object) == b'"error"':
        return True
    return may_be_broken(bytes(whole.choices))


def _decoded(body: bytes) -> Any:
    return read_if(mended(body), Any)


def is_hollow(value: Any) -> bool:
    if isinstance(value, dict):
        return all(map(is_hollow, value.values()))
    if isinstance(value, list):
        return all(map(is_hollow, value))
    return not value


_WEB_PAGE = "The backend answered with a web page."


def _what_it_is(body: bytes, otherwise: str = _NO_ANSWER) -> str:
    start = body[:64].strip()
    if not start:
        return "The backend's answer is empty."
    return _WEB_PAGE if start.startswith(b"<") else otherwise
