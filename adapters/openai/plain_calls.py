"""Calls whose answers are whole: images, sound, ranks and scores, and routes that a policy names.

A body is sent as it came, JSON or a form, with nothing changed but the model's name; an answer is
given as it came, JSON, text or sound. What is read of it is whether it is the answer that its task
must have, and what it says was used.

Sources: https://platform.openai.com/docs/api-reference/images,
https://platform.openai.com/docs/api-reference/audio and, for ranks, scores and tokens,
https://docs.vllm.ai/en/latest/serving/openai_compatible_server.html, as of 2026-11.
"""

from __future__ import annotations

from typing import Any

import msgspec

from adapters.errors import BackendError, FailureClass, malformed
from adapters.forms import boundary_of, parts_of, with_text
from adapters.http.answers import is_web_page, plain_answer
from adapters.http.api import Api
from adapters.http.failures import asked_by
from adapters.http.response import Response
from adapters.http.token_counts import tokens_of
from adapters.openai.media import is_sound, is_transcript
from adapters.openai.sound import seconds_of_sound, seconds_of_wav
from adapters.routes import PLAIN_ROUTES
from adapters.shapes.json_texts import read_if
from adapters.types import JSON_TYPE, Call, Reply, Task, Usage

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
        label = response.header(b"content-type")
        usage = Usage(exec_s=seconds)
        try:
            body, usage = self._answer(call, response.body, label or "", usage)
        except BackendError as error:
            raise asked_by(error, response.headers, self._api.clock.time()) from None
        content_type = label or _label_of(body, call.task)
        usage = _used(call, body, content_type, usage)
        return Reply(body=body, content_type=content_type, usage=usage)

    def _answer(self, call: Call, body: bytes, label: str, usage: Usage) -> tuple[bytes, Usage]:
        """The answer that a body is, as far as it says what it used."""
        if call.task == "speech" and is_sound(body, label):
            return body, usage
        if call.task in _TRANSCRIBES and is_transcript(body, label, _format_asked(call)):
            return body, usage
        if is_web_page(body, label):
            raise malformed("The backend answered with a web page.", usage=usage)
        secrets = self._api.secrets
        return plain_answer(body, label or JSON_TYPE, call.task, usage, secrets)


def _label_of(body: bytes, task: Task) -> str:
    """What an answer is that nobody has labelled."""
    plain = task in _TRANSCRIBES and read_if(body, dict[str, Any]) is None
    return "text/plain" if plain else "audio/mpeg" if task == "speech" else JSON_TYPE


def _format_asked(call: Call) -> str:
    """Of a transcript."""
    boundary = boundary_of(call.content_type)
    if boundary is None:
        return ""
    for part in parts_of(call.body, boundary):
        if part.name == "response_format":
            return call.body[part.start : part.end].decode("utf-8", "replace").strip().lower()
    return ""


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
