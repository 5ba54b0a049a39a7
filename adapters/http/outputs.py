"""A model's output inside a platform's envelope, as an answer or as an event of ours. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from adapters.errors import BackendError, FailureClass
from adapters.http.answers import answer_in
from adapters.http.sse import frame
from adapters.settings import Secret
from adapters.shapes.json_texts import read_if, read_input
from adapters.types import Reply, Task, Usage

NO_OBJECT = "The input of a model is a JSON object"


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
    charged. Raises MALFORMED for an output that is no such answer.
    """
    output = output or b"null"
    if task == "infer":
        return Reply(body=output, usage=usage)
    output = _only_item(output)
    body, used = answer_in(output, task, usage, secrets)
    return Reply(body=body, usage=used)


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


def _only_item(output: bytes) -> bytes:
    if not output.lstrip().startswith(b"["):
        return output
    items = read_if(output, list[msgspec.Raw])
    return bytes(items[0]) if items is not None and len(items) == 1 else output
