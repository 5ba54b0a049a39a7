"""What a realtime session has used, event by event."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from adapters.openai.realtime_usage import RealtimeEvent, RealtimeMeter
from adapters.types import TokenParts


def fed(*events: dict[str, Any]) -> RealtimeMeter:
    """Those of a type ``client`` are its caller's."""
    meter = RealtimeMeter()
    for event in events:
        raw = msgspec.json.encode(event)
        if event["type"] in ("input_audio_buffer.append", "conversation.item.create"):
            meter.sent(raw)
        else:
            meter.received(msgspec.json.decode(raw, type=RealtimeEvent))
    return meter


def done(given: int, made: int, **parts: dict[str, int]) -> dict[str, Any]:
    usage = {"input_tokens": given, "output_tokens": made, "total_tokens": given + made, **parts}
    return {"type": "response.done", "response": {"usage": usage}}


TEXT = {"type": "response.output_text.delta", "delta": "word"}
SOUND = {"type": "response.output_audio.delta", "delta": "A" * 6400}
SAID = {"type": "input_audio_buffer.append", "audio": "A" * 64_000}


@pytest.mark.parametrize(
    ("events", "given", "made", "is_estimate"),
    [
        pytest.param([], 0, 0, False, id="nothing"),
        pytest.param([SAID], 0, 0, False, id="nobody has answered"),
        pytest.param([TEXT, done(7, 3)], 7, 3, False, id="told"),
        pytest.param([done(7, 3), done(12, 5)], 19, 8, False, id="told twice"),
        pytest.param([SAID, TEXT, TEXT], 10, 2, True, id="under way"),
        pytest.param([done(7, 3), SOUND], 17, 5, True, id="sound after a response"),
        pytest.param([TEXT, {"type": "response.done"}], 0, 1, True, id="never told"),
        pytest.param([TEXT, {"type": "response.done"}, done(5, 5)], 5, 6, True, id="once told"),
        pytest.param([{"type": "x", "delta": 5}, {"type": "x.delta"}], 0, 0, False, id="odd"),
    ],
)
def test_responses_add_up_and_what_is_not_told_is_estimated(
    events: list[dict[str, Any]], given: int, made: int, *, is_estimate: bool
) -> None:
    used = fed(*events).used
    assert (used.input_tokens, used.output_tokens) == (given, made)
    assert (used.text_tokens is not None) is is_estimate


def test_parts_add_up_and_so_does_what_is_told_beside_responses() -> None:
    one = done(10, 4, input_token_details={"cached_tokens": 6, "audio_tokens": 8})
    heard = {
        "type": "conversation.item.input_audio_transcription.completed",
        "usage": {"type": "tokens", "input_tokens": 5, "output_tokens": 2, "total_tokens": 7},
    }
    timed = {**heard, "usage": {"type": "duration", "seconds": 3.5}}
    used = fed(one, one, heard, timed, timed).used
    assert (used.input_tokens, used.output_tokens, used.audio_s) == (25, 10, 7.0)
    assert used.parts == TokenParts(cached=12, audio_input=16)


def test_sound_that_nobody_counted_is_estimated_as_sound() -> None:
    short = [{"type": "input_audio_buffer.append", "audio": "A" * 640}] * 10
    part = {"type": "input_audio", "audio": "A" * 12_800}
    message = {"type": "message", "role": "user", "content": [part]}
    asked = {"type": "conversation.item.create", "item": message}
    used = fed(*short, asked, SOUND, SOUND, TEXT).used
    assert used.parts == TokenParts(audio_input=3, audio_output=4)
    assert used.output_tokens == 5
    cut = fed(
        done(10, 4, output_token_details={"audio_tokens": 3}), SOUND, {"type": "response.done"}
    )
    assert cut.used.parts == TokenParts(audio_input=3, audio_output=5)
    assert (cut.used.input_tokens, cut.used.output_tokens) == (24, 6)
