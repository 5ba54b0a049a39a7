"""Streams that fail in whatever shape, at whatever place, and those that only look so."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.errors import FailureClass
from adapters.http.sse import MAX_EARLY, EventReader
from adapters.http.typed_events import TypedReader
from tests.adapters.shapes.test_complaints import COMPLAINTS
from tests.adapters.shapes.test_task_answers import HOLLOW


def event(value: Any, name: str = "") -> bytes:
    head = f"event: {name}\n" if name else ""
    return f"{head}data: {json.dumps(value)}\n\n".encode()


def choice(**said: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, **said}]}


ROLE = event(choice(delta={"role": "assistant", "content": ""}))
PIECE = event(choice(delta={"content": "hi"}))
TEXT = event(choice(text="hi"))
FINISH = event(choice(delta={}, finish_reason="stop"))
DONE = b"data: [DONE]\n\n"
START = event({"type": "message_start", "message": {"usage": {"input_tokens": 3}}}, "message_start")
DELTA = event({"type": "content_block_delta", "delta": {"type": "text_delta", "text": "hi"}})
STOPPED = event({"type": "message_delta", "delta": {"stop_reason": "end_turn"}})
STOP = event({"type": "message_stop"}, "message_stop")
CREATED = event({"type": "response.created", "response": {"status": "in_progress", "output": []}})
SAID = event({"type": "response.output_text.delta", "delta": "hi"})
OVER = event({"type": "response.completed", "response": {"status": "completed", "output": []}})
BARE_OVER = event({"type": "response.completed"})

FRAMES = [
    *map(event, COMPLAINTS),
    *map(event, ({"message": "boom"}, {"msg": "boom"}, {"foo": 1}, None, [], {"choices": [None]})),
    b"event: error\n\n",
    b"event: exception\n\n",
    b"event: failed\ndata: {}\n\n",
    event({"message": "x"}, "exception"),
    b'{"error":{"message":"x"}}\n\n',
    b'{"message":"x"}\n\n',
    b'{"error":"x"}\n',
    b"Internal Server Error\n\n",
    b"Traceback (most recent call last):\n  File x\n\n",
    b"data: <html>\n\n",
]
"""None of which is a piece of answer, or says that there is none to come."""


def chats() -> EventReader:
    return EventReader(openai=True)


PLACES: dict[str, tuple[Callable[[], EventReader], bytes, bytes]] = {
    "chat, then [DONE]": (chats, PIECE, DONE),
    "chat, then nothing": (chats, PIECE + PIECE, b""),
    "completion": (chats, TEXT, DONE),
    "message": (TypedReader, START + DELTA, STOP),
    "message, then [DONE]": (TypedReader, START + DELTA, DONE),
    "response": (TypedReader, CREATED + SAID, BARE_OVER),
    "response, then nothing": (TypedReader, CREATED + SAID, b""),
    "chat, first": (chats, b"", DONE),
    "chat, alone": (chats, b"", b""),
    "chat, after the role": (chats, ROLE, DONE),
    "message, first": (TypedReader, b"", STOP),
    "message, after its start": (TypedReader, START, STOP),
    "response, first": (TypedReader, b"", BARE_OVER),
    "response, after its start": (TypedReader, CREATED, BARE_OVER),
}
each_place = pytest.mark.parametrize(("reader", "before", "behind"), PLACES.values(), ids=PLACES)


def failure_of(reader: EventReader, stream: bytes) -> FailureClass | None:
    reader.feed(stream)
    reader.end()
    return None if reader.error is None else reader.error.failure


@each_place
def test_no_stream_is_whole_whose_last_word_is_no_answer(
    reader: Callable[[], EventReader], before: bytes, behind: bytes
) -> None:
    begun = any(piece in before for piece in (PIECE, TEXT, DELTA, SAID))
    for frame in FRAMES:
        failure = failure_of(reader(), before + frame + behind)
        assert failure is not None, frame
        assert (failure is FailureClass.TRUNCATED) is begun, frame


OTHER = event({"choices": [{"index": 1, "delta": {"content": "hi"}}]})


@pytest.mark.parametrize("stream", [PIECE, PIECE + b"<html>", PIECE + OTHER + FINISH + DONE])
def test_no_word_about_a_cut_reads_like_an_end_marker(stream: bytes) -> None:
    """Some look for one in all the bytes that they have got."""
    reader = chats()
    assert failure_of(reader, stream) is FailureClass.TRUNCATED
    assert reader.error is not None
    assert "[DONE]" not in reader.error.message


values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 999) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.text(max_size=6) | st.sampled_from(["message", "code"]), inner, max_size=2
        )
    ),
    max_leaves=4,
)


@given(value=values, place=st.sampled_from(sorted(PLACES)))
def test_whatever_json_comes_last_it_is_no_answers_end(value: Any, place: str) -> None:
    reader, before, behind = PLACES[place]
    assert failure_of(reader(), before + event(value) + behind) is not None


@pytest.mark.parametrize(
    ("reader", "stream"),
    [
        (chats, b""), (chats, DONE), (chats, ROLE + DONE), (chats, ROLE * (MAX_EARLY + 6) + DONE),
        (chats, ROLE * (MAX_EARLY + 6)), (chats, event({"choices": []}) + DONE),
        (TypedReader, STOP), (TypedReader, START + STOP), (TypedReader, BARE_OVER),
    ],
)  # fmt: skip
def test_a_stream_without_one_piece_and_without_an_end_of_one_is_no_answer(
    reader: Callable[[], EventReader], stream: bytes
) -> None:
    assert failure_of(reader(), stream) is not None


GOOD = PIECE + FINISH + DONE
LENIENT = {
    "an unknown field": b"x-id: 1\n" + GOOD,
    "a comment and a mark": b"\xef\xbb\xbf: hello\n\n" + GOOD,
    "sources first": event({"sources": []}) + GOOD,
    "a ping between": PIECE + event({"type": "ping"}) + FINISH + DONE,
    "news between": PIECE + event({"message": "working"}) + PIECE + FINISH + DONE,
    "news at the end": PIECE + FINISH + event({"sources": ["a"]}) + DONE,
    "hollow errors": PIECE + b"".join(event({"error": one}) for one in HOLLOW[:3]) + FINISH + DONE,
    "no text": ROLE + FINISH + DONE,
    "no finish_reason": PIECE + PIECE + DONE,
    "no number": PIECE.replace(b'"index"', b'"logprobs": -Infinity, "index"') + FINISH + DONE,
}


@pytest.mark.parametrize("stream", LENIENT.values(), ids=LENIENT)
def test_what_stands_beside_an_answer_does_not_lose_it(stream: bytes) -> None:
    reader = chats()
    chunks = reader.feed(stream) + reader.end()
    assert reader.error is None
    assert chunks[-1].kind == "done"
    assert b"Infinity" not in b"".join(chunk.data for chunk in chunks)


@pytest.mark.parametrize("error", HOLLOW, ids=str)
def test_an_error_that_says_nothing_stands_beside_any_piece(error: Any) -> None:
    beside = event({**choice(delta={"content": "hi"}), "error": error})
    assert failure_of(chats(), beside + FINISH + DONE) is None


@pytest.mark.parametrize(
    "stream",
    [START + DELTA + STOPPED + STOP, START + STOPPED + STOP, CREATED + SAID + OVER, CREATED + OVER,
     START + event({"type": "news", "message": "x"}) + DELTA + STOPPED + STOP,
     CREATED + SAID + event({"type": "response.mcp_call.failed"}, "response.mcp_call.failed")
     + OVER],
)  # fmt: skip
def test_a_typed_stream_ends_well_where_its_answer_did(stream: bytes) -> None:
    reader = TypedReader()
    assert failure_of(reader, stream) is None
    assert reader.done


def test_the_caller_is_told_what_came_last() -> None:
    reader = chats()
    reader.feed(PIECE + event({"message": "the engine died"}) + DONE)
    assert reader.error is not None
    assert "the engine died" in reader.error.message
