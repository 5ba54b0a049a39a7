"""Typed events are passed on as they came; their end, their errors and their usage are read."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.errors import BackendError, FailureClass
from adapters.http.typed_events import TypedReader, typed_answer
from adapters.types import Task, Usage

UNTIMED = settings(deadline=None, max_examples=50)


def event(kind: str, **value: object) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (
        kind.encode(),
        json.dumps({"type": kind, **value}).encode(),
    )


MESSAGE = (
    event("message_start", message={"usage": {"input_tokens": 9, "output_tokens": 1}}),
    event("content_block_start", index=0, content_block={"type": "text", "text": ""}),
    event("ping"),
    event("content_block_delta", index=0, delta={"type": "text_delta", "text": "hello"}),
    event("event_of_next_year", anything=[1]),
    event("content_block_stop", index=0),
    event("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 5}),
    event("message_stop"),
)
RESPONSE = (
    event("response.created", response={"status": "in_progress", "error": None}),
    event("response.output_text.delta", delta="hello"),
    event(
        "response.completed",
        response={"usage": {"input_tokens": 9, "output_tokens": 5, "total_tokens": 14}},
    ),
)
STREAMS = pytest.mark.parametrize("events", [MESSAGE, RESPONSE], ids=["message", "response"])


@STREAMS
def test_a_whole_stream_is_passed_on_as_it_came(events: tuple[bytes, ...]) -> None:
    reader = TypedReader()
    chunks = reader.feed(b"".join(events)) + reader.end()
    assert b"".join(chunk.data for chunk in chunks) == b"".join(events)
    assert chunks[-1].kind == "done"
    assert (reader.done, reader.error) == (True, None)
    assert (reader.usage.input_tokens, reader.usage.output_tokens) == (9, 5)


@UNTIMED
@given(cut=st.integers(min_value=1))
@STREAMS
def test_a_stream_that_ends_before_its_end_is_cut(events: tuple[bytes, ...], cut: int) -> None:
    text = b"".join(events)
    whole = text[: cut % (len(text) - len(events[-1]))]
    reader = TypedReader()
    reader.feed(whole)
    reader.end()
    assert not reader.done
    assert reader.error is not None
    assert reader.error.failure is (
        FailureClass.TRUNCATED if reader.frames else FailureClass.MALFORMED
    )


@UNTIMED
@given(at=st.integers(min_value=1))
@STREAMS
def test_no_split_of_the_bytes_matters(events: tuple[bytes, ...], at: int) -> None:
    text = b"".join(events)
    at %= len(text)
    reader = TypedReader()
    chunks = reader.feed(text[:at]) + reader.feed(text[at:])
    assert b"".join(chunk.data for chunk in chunks) == text
    assert reader.done


@pytest.mark.parametrize(
    "broken",
    [
        event("error", error={"type": "overloaded_error", "message": "too much"}),
        event("response.failed", response={"error": {"code": "server_error", "message": "no"}}),
        b"event: x\ndata: {not json\n\n",
    ],
    ids=["error", "failed", "no JSON"],
)
def test_an_error_after_a_piece_cuts_the_answer(broken: bytes) -> None:
    reader = TypedReader()
    chunks = reader.feed(MESSAGE[0] + MESSAGE[3] + broken + MESSAGE[-1])
    assert b"".join(chunk.data for chunk in chunks) == MESSAGE[0] + MESSAGE[3]
    assert reader.error is not None
    assert reader.error.failure is FailureClass.TRUNCATED


def test_an_error_before_any_piece_lets_another_backend_be_asked() -> None:
    reader = TypedReader()
    error = event("error", error={"type": "overloaded_error", "message": "too much"})
    assert reader.feed(MESSAGE[0] + error) == []
    assert reader.error is not None
    assert reader.error.failure is FailureClass.OVERLOADED


@pytest.mark.parametrize(
    ("body", "failure"),
    [
        (b'{"type":"error","error":{"type":"overloaded_error"}}', FailureClass.OVERLOADED),
        (b'{"status":"failed","error":{"message":"no"},"output":[]}', FailureClass.FAILED),
        (b"<html>", FailureClass.MALFORMED),
        (b"{}", FailureClass.MALFORMED),
    ],
    ids=["error", "failed", "a page", "nothing"],
)
@pytest.mark.parametrize("task", ["messages", "responses"])
def test_what_is_no_answer_is_none(body: bytes, failure: FailureClass, task: Task) -> None:
    with pytest.raises(BackendError) as raised:
        typed_answer(body, task, Usage(exec_s=1.0))
    assert raised.value.failure is failure


def test_an_answer_without_counts_is_estimated_from_its_text() -> None:
    body = b'{"type":"message","content":[{"type":"text","text":"eight bytes and more"}]}'
    assert typed_answer(body, "messages", Usage())[1].text_tokens == 5
