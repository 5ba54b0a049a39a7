"""Which responses may still come, and what they may read, event by event."""

from __future__ import annotations

import json
from typing import Any

import pytest

from adapters.realtime.caller_events import CallerEvent, caller_event
from gateway.realtime.asked import AskedResponses
from gateway.realtime.backend_events import RefusedEvent
from gateway.realtime.said import Said

BUSY = "conversation_already_has_active_response"


def event(kind: str, **fields: Any) -> CallerEvent:
    return caller_event(json.dumps({"type": kind, **fields}).encode())


def append(characters: int) -> CallerEvent:
    return event("input_audio_buffer.append", audio="A" * characters)


def message(*parts: dict[str, str]) -> dict[str, Any]:
    return {"type": "message", "content": list(parts)}


SOUND = {"type": "input_audio", "audio": "A" * 50_000}
TEXT = {"type": "input_text", "text": "audio"}


@pytest.mark.parametrize(
    ("fields", "sound"),
    [
        pytest.param({"item": message(SOUND)}, 50_000, id="a part of sound"),
        pytest.param({"item": message(TEXT, SOUND, SOUND)}, 100_000, id="two beside text"),
        pytest.param({"response": {"input": [message(SOUND)]}}, 50_000, id="of a response"),
        pytest.param({"item": message(TEXT)}, 0, id="text"),
        pytest.param({"item": message({**SOUND, "type": "input_text"})}, 0, id="another type"),
        pytest.param({"audio": "A" * 50_000}, 0, id="beside an item"),
        pytest.param({"item": message(SOUND, {"type": ""}) | {"content": 5}}, 0, id="odd"),
    ],
)
def test_sound_is_where_it_stands_and_all_else_is_text(fields: dict[str, Any], sound: int) -> None:
    found = event("conversation.item.create", **fields)
    size = len(json.dumps({"type": "conversation.item.create", **fields}))
    assert (found.sound, found.text) == (sound, size - sound)


@pytest.mark.parametrize(
    ("said", "refusal", "left"),
    [
        pytest.param("ab", RefusedEvent(event_id="a"), 1, id="by its name"),
        pytest.param("ab", RefusedEvent(event_id="c"), 2, id="another's name"),
        pytest.param("aba", RefusedEvent(event_id="a"), 3, id="a name of two"),
        pytest.param("  ", RefusedEvent(code=BUSY), 1, id="none is named"),
        pytest.param("  ", RefusedEvent(code="invalid_value"), 2, id="of what is not said"),
        pytest.param("", RefusedEvent(code=BUSY), 0, id="none was asked for"),
    ],
)
def test_a_refusal_takes_the_response_off_that_it_means(
    said: str, refusal: RefusedEvent, left: int
) -> None:
    asked = AskedResponses()
    for name in said:
        asked.said(event("response.create", event_id=name.strip() or None), 0)
    asked.refused(refusal)
    assert len(asked) == left


def test_a_name_that_another_event_had_takes_nothing_off() -> None:
    asked = AskedResponses()
    asked.said(event("x", event_id="a"), 0)
    asked.said(event("response.create", event_id="a"), 0)
    asked.said(event("response.create", event_id="b"), 0)
    asked.said(event("x", event_id="b"), 0)
    asked.refused(RefusedEvent(event_id="a"))
    asked.refused(RefusedEvent(event_id="b"))
    assert len(asked) == 2


def test_sound_that_is_not_committed_is_read_by_no_response() -> None:
    said = Said()
    said.add(append(1_000_000))
    said.take(said.all)
    assert said.unread == 1001
    said.add(event("input_audio_buffer.commit"))
    said.heard("input_audio_buffer.committed")
    said.add(append(5000))
    said.take(said.all)
    assert said.unread == 6


def test_what_was_said_when_a_speech_began_is_read_by_the_response_to_it() -> None:
    said = Said()
    said.add(event("session.update", session={"instructions": "be brief"}))
    said.heard("input_audio_buffer.speech_started")
    before = said.unread
    said.add(append(5000))
    said.heard("input_audio_buffer.committed")
    said.take(said.heard_speech)
    assert (before > 0, said.unread, said.has_sound) == (True, 6, True)
