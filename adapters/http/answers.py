"""Whether an answer whose status is good is an answer: the one place that says so. Pure.

An answer has the shape that one to its task must have (``adapters/shapes/task_answers.py``),
whatever stands beside it but an error that says something. Whatever else came is an error where it
tells of one, by its code or type, and MALFORMED where it does not: a web page, nothing, text, no
JSON, no UTF-8, another shape. Side figures never decide, nor does NaN in one.

Of a call to ``infer``, and of a route that the policy names, the answer is the handler's own, so it
is held only to what it says it is.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import msgspec

from adapters.errors import BackendError, FailureClass, malformed
from adapters.http import failures
from adapters.http.failures import classify_error, clean
from adapters.http.plain_answers import BROKEN, may_be_broken, plain_usage
from adapters.http.response import Response
from adapters.http.stated_usage import read_usage, with_stated
from adapters.http.token_counts import HIDDEN, tokens_made
from adapters.images import image_kind
from adapters.settings import Secret
from adapters.shapes.complaints import complains, is_failure_name, is_hollow
from adapters.shapes.error_words import error_object, words_in
from adapters.shapes.json_texts import UNREADABLE, mended, read_if, value_of
from adapters.shapes.task_answers import has_shape, has_vectors, is_answer
from adapters.types import Reply, Task, Usage

_NOTHING = frozenset((b"null", b'""', b"{}", b"[]", b"false", b"0"))
_ABSENT = msgspec.Raw(b"null")
_NO_ANSWER = "The backend's answer is not what was asked for."
_FAILED = "The backend answered with an error."
_WEB_PAGE = "The backend answered with a web page."
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


def answer_in(
    body: bytes, task: Task, usage: Usage, secrets: Sequence[Secret] = ()
) -> tuple[bytes, Usage]:
    """The answer of OpenAI's protocol that a body is, as every reader of JSON takes it, and the
    tokens that it says it used, beside what is known of it.

    Raises what an error inside it means, and MALFORMED where it is none; ``usage`` is what was used
    all the same.
    """
    said = plain_usage(body, task)
    if said is None:
        return read_closely(body, task, usage, secrets)
    return body, with_stated(usage, said)


def read_closely(
    body: bytes, task: Task, usage: Usage, secrets: Sequence[Secret] = ()
) -> tuple[bytes, Usage]:
    """The same of an answer of any shape, whatever type its fields have."""
    body = readable(body, usage)
    whole = read_if(body, _Whole) or _Whole()
    said = read_usage(whole.usage)
    used = with_stated(usage, said)
    if task == "embeddings" and has_vectors(body) and not _may_have_failed(whole):
        return body, used  # not one of its numbers is made
    answer = value_of(body)
    check_answer(answer, task, secrets, used)
    made = said.output_tokens or 0
    if made > len(body) + HIDDEN:
        used = msgspec.structs.replace(used, output_tokens=None)
    elif made or task == "embeddings":
        return body, used
    return body, msgspec.structs.replace(used, text_tokens=tokens_made(answer) or None)


def check_answer(
    said: Any, task: Task, secrets: Sequence[Secret] = (), usage: Usage | None = None
) -> None:
    """Raises what decoded JSON means that is no answer to this task, or has an error beside it."""
    if is_answer(task, said):
        failure = _failure_beside(said, task, secrets, usage)
    else:
        told = None if isinstance(said, str) else failure_of(said, secrets, usage)
        failure = told or no_answer(said, secrets, usage)
    if failure is not None:
        raise failure


def readable(body: bytes, usage: Usage | None = None) -> bytes:
    """A body's JSON, as every reader takes it. Raises MALFORMED for what is none, or no UTF-8."""
    body = mended(body)
    try:
        msgspec.json.decode(body, type=msgspec.Raw)
        body.isascii() or body.decode()
    except UNREADABLE as error:
        raise malformed(_what_it_is(body), usage=usage, detail=str(error)) from None
    return body


def check_output(body: bytes, content_type: str, usage: Usage | None = None) -> bytes:
    """A handler's answer to ``infer``. Raises MALFORMED for what none answers: nothing, a web page,
    and what says that it is JSON and is none."""
    if not body:
        raise malformed("The backend's answer is empty.", usage=usage)
    if "html" in content_type:
        raise malformed(_WEB_PAGE, usage=usage)
    if "json" not in content_type or read_if(body, msgspec.Raw) is not None:
        return body
    try:
        return readable(body, usage)
    except BackendError:
        said = _what_it_is(body, "The backend's answer is no JSON.")
        raise malformed(said, usage=usage) from None


def output_in(response: Response, usage: Usage) -> Reply:
    """A handler's whole answer to a call of ``infer``. Raises as ``check_output``."""
    content_type = response.header(b"content-type") or "application/json"
    body = check_output(response.body, content_type, usage)
    return Reply(body=body, content_type=content_type, usage=usage)


def plain_answer(
    body: bytes, content_type: str, task: Task, usage: Usage, secrets: Sequence[Secret] = ()
) -> tuple[bytes, Usage]:
    """The same as ``answer_in`` of JSON in answer to a plain task, or to a route that a policy
    names."""
    if not has_shape(task):
        body = check_output(body, content_type, usage)
        if "json" not in content_type:
            return body, usage
    else:
        body = readable(body, usage)
    used = with_usage_told(body, usage)
    check_answer(value_of(body), task, secrets, used)
    return body, used


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
    said: Any, secrets: Sequence[Secret] = (), usage: Usage | None = None
) -> BackendError:
    """What the error inside an answer or an event means."""
    error = error_object(said)
    return failures.failure_in(error, secrets=secrets, otherwise=_FAILED, usage=usage)


def failure_of(
    said: Any, secrets: Sequence[Secret] = (), usage: Usage | None = None
) -> BackendError | None:
    """What decoded JSON means, or an event of a stream, that is an error or ended in one; None
    where it is none. ``usage`` is what was used all the same."""
    if isinstance(said, str):
        return failure_in(said, secrets, usage) if complains(said) else None
    if isinstance(said, list):
        return failure_of(next(filter(complains, said), None), secrets, usage)
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
    return no_answer(said, secrets, usage) if complains(said) else None


def _failure_beside(
    said: Any, task: Task, secrets: Sequence[Secret], usage: Usage | None
) -> BackendError | None:
    """The same of what has the shape of an answer: there its own fields may be called anything."""
    if not isinstance(said, dict):
        return None
    status = said.get("status") if task == "responses" else None
    told = said.get("type") == "error" or said.get("object") == "error"
    if told or not is_hollow(said.get("error")) or (status and is_failure_name(str(status))):
        return failure_in(said, secrets, usage)
    broken = broken_choice(said.get("choices"))
    return None if broken is None else failure_in(broken, secrets, usage)


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
    error = error_object(said)
    if classify_error(error) is FailureClass.FAILED:
        return malformed(clean(words_in(said), secrets) or _NO_ANSWER, usage=usage)
    return failures.failure_in(error, secrets=secrets, otherwise=_NO_ANSWER, usage=usage)


def _may_have_failed(whole: _Whole) -> bool:
    """Whether it is worth a closer look."""
    if bytes(whole.error) != b"null" or bytes(whole.object) == b'"error"':
        return True
    return may_be_broken(bytes(whole.choices))


def _what_it_is(body: bytes, otherwise: str = _NO_ANSWER) -> str:
    start = body[:64].strip()
    if not start:
        return "The backend's answer is empty."
    return _WEB_PAGE if start.startswith(b"<") else otherwise


def is_web_page(body: bytes, content_type: str) -> bool:
    """Whether a body is one, by its label or by how it begins."""
    return "html" in content_type or body[:64].lstrip()[:1] == b"<"
