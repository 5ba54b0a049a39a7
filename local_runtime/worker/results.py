"""A handler's values and exceptions as events: JSON out, tokens counted, errors named."""

from __future__ import annotations

import contextlib
import sys
import traceback
from typing import Any

import msgspec

from local_runtime.app.request import BODILESS, InvalidInput, Response
from local_runtime.protocol.events import Done, FailureKind, Head, Output

MAX_DETAIL = 8192
"""Characters of a traceback that travel with a failure."""
MAX_MESSAGE = 2000
"""Characters of a message to a caller."""
MAX_HEADER = 8192
"""Characters of a header's value."""
MAX_TOKENS = 2**53
"""Of one call: more is no number of tokens, and none that every reader of JSON could hold."""


class ResultTooLarge(Exception):
    """The result does not fit in a frame."""


def _plain(value: Any) -> Any:
    """Arrays, tensors and their scalars as lists and numbers; a pydantic model as its fields."""
    if hasattr(value, "tolist"):
        return value.tolist()
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    raise TypeError(f"{type(value).__name__} is not a JSON value")


_encode = msgspec.json.Encoder(enc_hook=_plain).encode


def encode(value: Any, limit: int | None = None) -> bytes:
    """The value as JSON of at most ``limit`` bytes. Raises TypeError for what JSON has no word
    for, and ResultTooLarge."""
    return _within(_encode(value), limit)


def logged(done: Done) -> Done:
    """Leaves the traceback in the worker's log, where the app has not closed that."""
    if done.detail:
        with contextlib.suppress(Exception):
            print(done.detail, file=sys.stderr, flush=True)
    return done


def tokens_of(value: Any) -> tuple[int | None, int | None]:
    """The prompt and completion tokens of an OpenAI-shaped value, where it has ``usage``."""
    usage = value.get("usage") if type(value) is dict else None
    if type(usage) is not dict:
        return None, None
    return _count(usage.get("prompt_tokens")), _count(usage.get("completion_tokens"))


def _count(tokens: Any) -> int | None:
    """A number of tokens, or None for what can be none."""
    return tokens if type(tokens) is int and 0 <= tokens <= MAX_TOKENS else None


def succeeded(id: int, value: Any, limit: int) -> Done:
    """The Done of a returned value, or of the exception that a batch handler put in its place."""
    if isinstance(value, Response):
        return _responded(id, value, limit)
    if isinstance(value, Exception):
        return failed(id, value)
    prompt, completion = tokens_of(value)
    return Done(id, True, encode(value, limit), input_tokens=prompt, output_tokens=completion)


def failed(id: int, error: BaseException) -> Done:
    """The Done of an exception: its name for the caller, its traceback for the operator."""
    if isinstance(error, InvalidInput):
        param = None if error.param is None else words(error.param)
        return Done(id, False, kind="invalid", message=words(error.message), param=param)
    if isinstance(error, ResultTooLarge):
        return Done(id, False, kind="failed", message=str(error), detail=str(error))
    name = type(error).__name__
    trace = words("".join(traceback.format_exception(error))[-MAX_DETAIL:], MAX_DETAIL)
    message = f"the model's handler failed ({name})"
    return Done(id, False, kind="failed", message=message, detail=trace)


def unsendable(id: int, error: Exception) -> Done:
    """In the place of an answer that does not fit on the wire."""
    text = f"the answer could not be sent ({type(error).__name__})"
    return Done(id, False, kind="failed", message=text, detail=words(error))


def words(value: Any, limit: int = MAX_MESSAGE) -> str:
    """What user code returned as a text, as one that can be sent: it may be of another type, whose
    ``str()`` may fail, and hold halves of surrogate pairs, which UTF-8 has no word for."""
    try:
        text = value if type(value) is str else str(value)
    except Exception:
        text = type(value).__name__
    return text[:limit].encode(errors="backslashreplace").decode()


def cancelled(id: int) -> Done:
    """The Done of a call that was cancelled."""
    return Done(id, False, kind="cancelled", message="the call was cancelled")


def item(id: int, value: Any, limit: int) -> Output:
    """The Output of one item of a stream."""
    prompt, completion = tokens_of(value)
    only_usage = prompt is not None and value.get("choices") == []
    return Output(id, encode(value, limit), only_usage, prompt, completion)


def head_of(id: int, response: Response) -> Head:
    """What goes before the pieces of the response's body."""
    return Head(id, _status(response), _headers(response))


def raw_item(id: int, piece: Any, limit: int) -> Output:
    """The Output of one piece of a raw body. Raises TypeError and ResultTooLarge."""
    data = piece.encode() if isinstance(piece, str) else bytes(memoryview(piece))
    return Output(id, _within(data, limit))


def _responded(id: int, response: Response, limit: int) -> Done:
    headers, status = _headers(response), _status(response)
    if status in BODILESS:
        data = b""
    elif isinstance(response.body, bytes):
        data = _within(response.body, limit)
    elif response.body is not None:
        raise TypeError("a generator is no body of a Response here: make it whole")
    else:
        data = encode(response.json, limit)
    if status >= 400:
        kind: FailureKind = "invalid" if status < 500 else "failed"
        text = _message(response.json) or f"the model's handler answered with {status}"
        return Done(
            id,
            False,
            data if response.json is not None or response.body is not None else b"",
            kind=kind,
            message=text[:MAX_MESSAGE],
            status=status,
            headers=headers,
        )
    prompt, completion = tokens_of(response.json)
    return Done(
        id,
        True,
        data,
        input_tokens=prompt,
        output_tokens=completion,
        status=status,
        headers=headers,
    )


def _status(response: Response) -> int:
    """Raises ValueError for what no final answer has."""
    status = int(response.status)
    if not 200 <= status <= 599:
        raise ValueError(f"a Response has a status from 200 to 599, not {response.status}")
    return status


def _headers(response: Response) -> tuple[tuple[str, str], ...]:
    """As text: a number among them must not break the frame."""
    headers = response.headers.items()
    return tuple((words(name), words(value, MAX_HEADER)) for name, value in headers)


def _within(data: bytes, limit: int | None) -> bytes:
    if limit is not None and len(data) > limit:
        raise ResultTooLarge(f"the result is {len(data)} bytes; the limit is {limit}")
    return data


def _message(body: Any) -> str:
    for _ in range(2):
        if not isinstance(body, dict):
            break
        body = body.get("error", body.get("message"))
    return body if isinstance(body, str) else ""
