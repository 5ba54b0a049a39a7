"""A model's output inside a platform's envelope, as an answer or as an event of ours. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from adapters.errors import BackendError, FailureClass
from adapters.http.failures import classify_error, clean, read, read_input, words_in
from adapters.http.sse import frame
from adapters.settings import Secret
from adapters.types import Reply, Task, Usage

NO_OBJECT = "The input of a model is a JSON object"
_NO_ANSWER = "The model's output is no answer of OpenAI's protocol."


def input_of(body: bytes) -> bytes:
    """The caller's own bytes, once they are known to be one JSON object. Raises INVALID.

    They are checked whole: what is spliced into an envelope must not be able to close it.
    """
    read_input(body, dict[str, msgspec.Raw], NO_OBJECT)
    return body


def check_size(body: bytes, limit: int) -> None:
    """Raises TOO_LARGE for a body of more than ``limit`` bytes."""
    if len(body) > limit:
        raise BackendError(
            FailureClass.TOO_LARGE, f"The backend takes at most {limit} bytes in one request."
        )


def answer_of(output: bytes, task: Task, usage: Usage, secrets: Sequence[Secret] = ()) -> Reply:
    """The answer that an output is; a model that returned nothing answers null.

    For the tasks of OpenAI's protocol the output is that protocol's answer, or a list of one
    (a generator's). Raises what an error object in it means: a failure that was run and is
    charged. Raises FAILED for an output that is no such answer.
    """
    output = output or b"null"
    if task == "infer":
        return Reply(body=output, usage=usage)
    output = _only_item(output)
    answer = read(output, dict[str, Any], _NO_ANSWER, usage)
    error = answer.get("error") or (answer if answer.get("object") == "error" else None)
    if error is not None:
        message = clean(words_in(error), secrets) or "The model answered with an error."
        raise BackendError(classify_error(error), message, usage=usage)
    return Reply(body=output, usage=_with_tokens(usage, answer.get("usage")))


def event_of(output: bytes) -> bytes:
    """One piece of streamed output as an event. Text in the form of server-sent events is passed
    on as it is; any other JSON becomes the data of one event."""
    text = as_text(output)
    if text is not None and text.startswith((b"data:", b":", b"event:")):
        return text
    return frame(output)


def as_text(output: bytes) -> bytes | None:
    """An output that is a JSON string, as the bytes of that string."""
    if not output.lstrip().startswith(b'"'):
        return None
    return msgspec.json.decode(output, type=str).encode()


def count_of(value: Any) -> int | None:
    """A value that is a number of tokens; None for anything else."""
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _only_item(output: bytes) -> bytes:
    if not output.lstrip().startswith(b"["):
        return output
    items = msgspec.json.decode(output, type=list[msgspec.Raw])
    return bytes(items[0]) if len(items) == 1 else output


def _with_tokens(usage: Usage, counts: Any) -> Usage:
    if not isinstance(counts, dict):
        return usage
    return msgspec.structs.replace(
        usage,
        input_tokens=count_of(counts.get("prompt_tokens")),
        output_tokens=count_of(counts.get("completion_tokens")),
    )
