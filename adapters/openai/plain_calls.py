"""Calls whose answers are whole: images, sound, ranks and scores, and routes that a policy names.

A body is sent as it came, JSON or a form, with nothing changed but the model's name; an answer is
given as it came, JSON, text or sound. What is read of it is an error, and what it says was used.

Sources: https://platform.openai.com/docs/api-reference/images,
https://platform.openai.com/docs/api-reference/audio and, for ranks, scores and tokens,
https://docs.vllm.ai/en/latest/serving/openai_compatible_server.html, as of 2026-11.
"""

from __future__ import annotations

from typing import Any

import msgspec

from adapters.errors import BackendError, FailureClass
from adapters.forms import boundary_of, parts_of, with_text
from adapters.http.answers import check_output, failure_of, with_usage_told
from adapters.http.api import Api
from adapters.http.failures import read_if
from adapters.http.response import Response
from adapters.http.token_counts import tokens_of
from adapters.openai.sound import seconds_of_sound, seconds_of_wav
from adapters.routes import PLAIN_ROUTES
from adapters.types import Call, Reply, Usage

_LOOKED_AT = 4096
"""Bytes of an answer in which an error says that it is one."""
_TRANSCRIBES = frozenset(("transcriptions", "translations"))


class PlainCalls:
    """Calls to one server; ``model`` is its own name for the model, ``timeout`` in seconds."""

    def __init__(self, api: Api, *, model: str | None, timeout: float) -> None:
        self._api = api
        self._model = model
        self._timeout = timeout

    async def ask(self, call: Call) -> Reply:
        """Raises what the server refuses, and MALFORMED for what is no answer."""
        clock = self._api.clock
        started = clock.monotonic()
        method, target = call.declared or ("POST", PLAIN_ROUTES[call.task])
        more = {"Content-Type": call.content_type} if call.content_type else {}
        head = self._api.head(method, target, more)
        deadline = min(call.deadline, started + self._timeout)
        response = await self._api.client.request(head, self._body(call), deadline=deadline)
        self._api.checked(response)
        return self._reply(call, response, clock.monotonic() - started)

    def _body(self, call: Call) -> bytes:
        """With the server's own name for the model, where it has one and the body names any."""
        if self._model is None or call.declared is not None:
            return call.body
        boundary = boundary_of(call.content_type)
        try:
            if boundary is not None:
                return with_text(call.body, boundary, "model", self._model)
            fields = msgspec.json.decode(call.body, type=dict[str, msgspec.Raw])
        except ValueError as error:
            said = f"The body is not what its Content-Type says: {error}."
            raise BackendError(FailureClass.INVALID, said) from None
        fields["model"] = msgspec.Raw(msgspec.json.encode(self._model))
        return msgspec.json.encode(fields)

    def _reply(self, call: Call, response: Response, seconds: float) -> Reply:
        content_type = response.header(b"content-type") or "application/json"
        body, usage = response.body, Usage(exec_s=seconds)
        check_output(body, content_type, usage)
        if "json" in content_type:
            usage = with_usage_told(body, usage)
            if b'"error"' in body[:_LOOKED_AT]:
                failed = failure_of(read_if(body, Any), self._api.secrets, usage)
                if failed is not None:
                    raise failed
        usage = _used(call, body, content_type, usage)
        return Reply(body=body, content_type=content_type, usage=usage)


def _used(call: Call, body: bytes, content_type: str, usage: Usage) -> Usage:
    """What the server did not say of tokens that are never paid for, and of sound."""
    if call.task == "tokenize":
        return msgspec.structs.replace(usage, input_tokens=0, output_tokens=0)
    if call.task == "speech" and usage.audio_s is None:
        seconds, exact = seconds_of_sound(body, content_type)
        return msgspec.structs.replace(usage, audio_s=seconds, estimated=not exact)
    if call.task in _TRANSCRIBES:
        return _transcribed(call, body, content_type, usage)
    return usage


class _Transcribed(msgspec.Struct):
    text: Any = None
    duration: Any = None


def _transcribed(call: Call, body: bytes, content_type: str, usage: Usage) -> Usage:
    told = read_if(body, _Transcribed) if "json" in content_type else None
    text = body.decode("utf-8", "replace") if told is None else told.text
    audio_s = usage.audio_s
    if audio_s is None and told is not None and isinstance(told.duration, int | float):
        audio_s = float(told.duration)
    if audio_s is None:
        audio_s = seconds_sent(call)
    tokens = tokens_of(text) if isinstance(text, str) else 0
    return msgspec.structs.replace(usage, audio_s=audio_s, text_tokens=tokens or None)


def seconds_sent(call: Call) -> float | None:
    """Of the sound in a form, where its own head says how long it is: of several the longest, as
    nobody knows which one is heard."""
    boundary = boundary_of(call.content_type)
    if boundary is None:
        return None
    files = [part for part in parts_of(call.body, boundary) if part.name == "file"]
    lengths = [seconds_of_wav(call.body[part.start : part.end]) for part in files]
    known = [length for length in lengths if length is not None]
    return max(known) if known and len(known) == len(files) else None
