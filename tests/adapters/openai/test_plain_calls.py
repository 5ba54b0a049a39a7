"""Whole answers of a server: what is sent to it, and what is read of what comes back."""

from __future__ import annotations

import json
import struct
from typing import Any

import httpx
import pytest

from adapters.errors import BackendError, FailureClass
from adapters.forms import boundary_of, parts_of, texts_of, with_text
from adapters.openai.sound import seconds_of_sound, seconds_of_wav
from adapters.types import ANY_IMAGE, Call, ImageKind, Task
from gateway.clock import FakeClock
from tests.adapters.openai.test_backend import upstream
from tests.adapters.servers import answer

FORMAT = struct.pack("<IHHIIHH", 16, 1, 1, 8000, 16000, 2, 16)
WAV = b"RIFF" + bytes(4) + b"WAVEfmt " + FORMAT + b"data" + struct.pack("<I", 32000) + bytes(32000)
FORM = httpx.Request(
    "POST", "http://x", data={"model": "m", "language": "en"}, files={"file": ("a.wav", WAV)}
)
BODY, TYPE = FORM.read(), FORM.headers["content-type"]


def call(task: Task, body: bytes = b'{"model":"m","odd": 1.50}', **more: Any) -> Call:
    return Call(id="c1", model="m", task=task, body=body, deadline=1e9, **more)


async def test_a_form_is_sent_as_it_came_but_for_the_models_name(clock: FakeClock) -> None:
    async with upstream(clock, answer({"text": "hello"}), model="whisper") as (backend, script):
        reply = await backend.invoke(call("transcriptions", BODY, content_type=TYPE))
        sent = script.requests[0].body
        assert script.requests[0].target == "/v1/audio/transcriptions"
        assert script.requests[0].headers["content-type"] == TYPE
        boundary = boundary_of(TYPE)
        assert boundary is not None
        parts = parts_of(sent, boundary)
        assert texts_of(sent, parts) == {"model": "whisper", "language": "en"}
        assert sent[parts[-1].start : parts[-1].end] == WAV
        assert reply.body == b'{"text":"hello"}'
        assert reply.usage.audio_s == 2.0


async def test_json_is_sent_as_it_came_but_for_the_models_name(clock: FakeClock) -> None:
    images = {"data": [{"url": "a"}, {"url": "b"}]}
    async with upstream(clock, answer(images), answer(images), model="up") as (backend, script):
        reply = await backend.invoke(call("images"))
        assert json.loads(script.requests[0].body) == {"model": "up", "odd": 1.5}
        assert b'"odd":1.50' in script.requests[0].body
        assert reply.usage.images == 2
        declared = ("PUT", "/v1/ocr?lang=de")
        sent = call("other", b"\x89PNG", content_type="image/png", declared=declared)
        await backend.invoke(sent)
        assert script.requests[1].body == b"\x89PNG"
        assert script.targets()[1] == "PUT /v1/ocr?lang=de"


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ({"size": "1024x1536", "quality": "High"}, ImageKind("1024x1536", "high")),
        ({"size": "auto", "quality": None}, ANY_IMAGE),
        ({"size": [1, 2], "quality": {}}, ANY_IMAGE),
    ],
    ids=["said", "left to the server", "odd"],
)
async def test_an_answer_says_what_its_images_are(
    said: dict[str, Any], kind: ImageKind, clock: FakeClock
) -> None:
    images = {"data": [{"url": "a"}], **said, "usage": {"input_tokens": 3, "output_tokens": 9}}
    async with upstream(clock, answer(images)) as (backend, _):
        usage = (await backend.invoke(call("images"))).usage
        assert (usage.images, usage.image, usage.output_tokens) == (1, kind, 9)


@pytest.mark.parametrize(
    ("task", "reply", "seconds", "text_tokens"),
    [
        ("transcriptions", answer({"text": "four byte", "duration": 7.5}), 7.5, 3),
        ("translations", answer({"text": "a", "usage": {"type": "duration", "seconds": 3}}), 3, 1),
        ("transcriptions", answer(b"1\n00:00 --> x\nhi", content_type="text/plain"), 2.0, 4),
        ("speech", answer(WAV, content_type="audio/wav"), 2.0, None),
        ("speech", answer(bytes(48_000), content_type="audio/pcm"), 1.0, None),
        ("speech", answer(bytes(32_000), content_type="audio/mpeg"), 2.0, None),
    ],
    ids=["verbose", "said", "text", "wav", "pcm", "mp3"],
)
async def test_the_seconds_of_sound_are_read_from_what_says_them_best(
    task: Task, reply: bytes, seconds: float, text_tokens: int | None, clock: FakeClock
) -> None:
    asked = call(task) if task == "speech" else call(task, BODY, content_type=TYPE)
    async with upstream(clock, reply) as (backend, _):
        told = (await backend.invoke(asked)).usage
        assert (told.audio_s, told.text_tokens) == (seconds, text_tokens)


@pytest.mark.parametrize(
    ("reply", "failure"),
    [
        (answer({"error": {"message": "no", "code": "rate_limit_exceeded"}}), "overloaded"),
        (answer({"error": {"message": "bad"}}, 400), "invalid"),
        (answer(b"", content_type="audio/mpeg"), "malformed"),
        (answer(b"<html>", content_type="text/html"), "malformed"),
        (answer(b"{nope"), "malformed"),
    ],
    ids=["an error of status 200", "refused", "nothing", "a page", "no JSON"],
)
async def test_what_is_no_answer_is_none(reply: bytes, failure: str, clock: FakeClock) -> None:
    async with upstream(clock, reply) as (backend, _):
        with pytest.raises(BackendError) as raised:
            await backend.invoke(call("speech"))
        assert raised.value.failure.slug == failure


async def test_a_form_that_is_none_is_the_callers_fault(clock: FakeClock) -> None:
    async with upstream(clock, model="up") as (backend, script):
        with pytest.raises(BackendError) as raised:
            await backend.invoke(call("transcriptions", BODY[:-9], content_type=TYPE))
        assert raised.value.failure is FailureClass.INVALID
        assert script.requests == []


def test_a_value_of_a_form_is_changed_where_it_stands() -> None:
    boundary = boundary_of(TYPE)
    assert boundary is not None
    changed = with_text(BODY, boundary, "model", "a longer name")
    assert changed == BODY.replace(b"\r\n\r\nm\r\n", b"\r\n\r\na longer name\r\n")


@pytest.mark.parametrize("cut", range(0, len(BODY) - 4, 997))
def test_a_form_that_is_cut_anywhere_is_none(cut: int) -> None:
    boundary = boundary_of(TYPE)
    assert boundary is not None
    with pytest.raises(ValueError):
        parts_of(BODY[:cut], boundary)


def test_what_is_no_sound_has_no_length() -> None:
    assert seconds_of_wav(b"RIFF") is None
    assert seconds_of_wav(b"\x00" * 100) is None
    assert seconds_of_sound(b"", "audio/mpeg") == (0.0, False)


@pytest.mark.parametrize(
    ("task", "reply"),
    [
        ("speech", answer(b"Internal Server Error", content_type="text/plain")),
        ("speech", answer(b"Internal Server Error", content_type="application/octet-stream")),
        ("speech", answer(b'{"error":"no voice"}', content_type="audio/mpeg")),
        ("speech", answer(b"<html>no</html>", content_type="audio/mpeg")),
        ("speech", answer(b"data: {}\n\n", content_type="text/event-stream")),
        ("transcriptions", answer(b"Internal Server Error", content_type="text/plain")),
        ("transcriptions", answer(b"<html>no</html>", content_type="text/plain")),
        ("images", answer({"data": []})),
        ("rerank", answer(b"OK", content_type="text/plain")),
    ],
    ids=str,
)
async def test_what_is_neither_sound_nor_text_nor_what_was_asked_for_is_no_answer(
    task: Task, reply: bytes, clock: FakeClock
) -> None:
    asked = call(task, BODY, content_type=TYPE) if task == "transcriptions" else call(task)
    async with upstream(clock, reply) as (backend, _):
        with pytest.raises(BackendError) as caught:
            await backend.invoke(asked)
    assert caught.value.failure in (FailureClass.MALFORMED, FailureClass.FAILED)


@pytest.mark.parametrize(
    ("label", "body"),
    [
        ("audio/mpeg", b"ID3 of text alone"),
        ("application/octet-stream", b"\xff\xf3\x00"),
        ("", b"OggS\x00\x02"),
        ("text/event-stream", b'data: {"type":"speech.audio.delta"}\n\n'),
    ],
)
async def test_a_sound_is_one_by_its_label_or_its_bytes(
    label: str, body: bytes, clock: FakeClock
) -> None:
    async with upstream(clock, answer(body, content_type=label)) as (backend, _):
        assert (await backend.invoke(call("speech"))).body == body


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("text", b"hello"),
        ("text", b"\n"),
        ("text", b"42"),
        ("srt", b"1\n00:00 --> 00:01\nhi"),
        ("vtt", b"WEBVTT\n"),
        ("json", b"WEBVTT\n"),
    ],
)
async def test_a_transcript_is_text_where_such_was_asked_for(
    asked: str, said: bytes, clock: FakeClock
) -> None:
    form = httpx.Request(
        "POST", "http://x", data={"response_format": asked}, files={"file": ("a.wav", WAV)}
    )
    sent = call("transcriptions", form.read(), content_type=form.headers["content-type"])
    async with upstream(clock, answer(said, content_type="text/plain")) as (backend, _):
        assert (await backend.invoke(sent)).body == said
