"""OpenAI's event streams, in the dialects of its servers."""

from __future__ import annotations

import pytest

from adapters.errors import FailureClass
from adapters.http.sse import EventReader, is_special, split_events
from adapters.types import Chunk, Usage

DELTA = (
    b'data: {"id":"1","choices":[{"index":0,"delta":{"content":"hi"},"finish_reason":null}]}\n\n'
)
NULL_USAGE = b'data: {"choices":[{"delta":{"content":"x"},"finish_reason":null}],"usage":null}\n\n'
FINISH = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
USAGE = b'data: {"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2}}\n\n'
FINISH_WITH_USAGE = (
    b'data: {"choices":[{"finish_reason":"stop"}],'
    b'"usage":{"prompt_tokens":3,"completion_tokens":2}}\n\n'
)
DONE = b"data: [DONE]\n\n"


def begun() -> EventReader:
    """A reader that has passed its first delta on."""
    reader = EventReader(openai=True)
    assert reader.feed(DELTA) == [Chunk(DELTA)]
    return reader


def test_events_that_are_plain_are_passed_on_as_one_chunk_untouched() -> None:
    reader = begun()
    assert reader.feed(DELTA + NULL_USAGE + DELTA) == [Chunk(DELTA + NULL_USAGE + DELTA)]


def test_an_event_in_two_reads_is_passed_on_once_it_is_whole() -> None:
    reader = begun()
    assert reader.feed(DELTA + DELTA[:20]) == [Chunk(DELTA)]
    assert reader.feed(DELTA[20:]) == [Chunk(DELTA)]


def test_usage_in_an_event_of_its_own_is_a_usage_chunk() -> None:
    reader = begun()
    usage = Usage(input_tokens=3, output_tokens=2)
    assert reader.feed(FINISH + USAGE + DONE) == [
        Chunk(FINISH),
        Chunk(USAGE, "usage", usage),
        Chunk(DONE, "done"),
    ]
    assert reader.usage == usage


def test_usage_on_the_finishing_event_is_data_that_tells_it() -> None:
    reader = begun()
    usage = Usage(input_tokens=3, output_tokens=2)
    assert reader.feed(FINISH_WITH_USAGE) == [Chunk(FINISH_WITH_USAGE, "data", usage)]
    assert reader.finished


def test_a_done_marker_that_is_text_of_the_answer_is_text() -> None:
    reader = begun()
    text = DELTA.replace(b'"hi"', b'"[DONE]"')
    assert reader.feed(text) == [Chunk(text)]
    assert not reader.done


def test_the_word_usage_inside_an_answer_is_text() -> None:
    reader = begun()
    text = DELTA.replace(b'"hi"', rb'"\"usage\": {\"error\": 1}"')
    assert reader.feed(text) == [Chunk(text)]
    assert reader.error is None


def test_changing_ids_null_roles_comments_and_event_lines_are_tolerated() -> None:
    reader = begun()
    odd = (
        b'event: message\nid: 7\ndata: {"id":"2","choices":'
        b'[{"delta":{"role":null,"content":null}}]}\r\n\r\n: keep-alive\n\n'
    )
    assert reader.feed(odd) == [Chunk(odd)]
    assert reader.error is None


def test_a_comment_before_the_first_event_commits_the_caller_to_nothing() -> None:
    reader = EventReader(openai=True)
    assert reader.feed(b": PROCESSING\n\n") == []
    assert not reader.frames


def test_an_error_frame_before_the_first_event_has_the_class_of_its_code() -> None:
    reader = EventReader(openai=True)
    assert reader.feed(b'data: {"error":{"message":"too long","code":400}}\n\n') == []
    assert reader.error is not None
    assert reader.error.failure is FailureClass.INVALID
    assert reader.error.message == "too long"


def test_an_error_frame_after_the_first_event_is_a_cut_and_the_done_after_it_no_end() -> None:
    reader = begun()
    assert reader.feed(DELTA + b'data: {"error":{"message":"engine died"}}\n\n' + DONE) == [
        Chunk(DELTA)
    ]
    assert reader.error is not None
    assert reader.error.failure is FailureClass.TRUNCATED
    assert not reader.done


def test_the_flat_error_of_older_servers_is_an_error_too() -> None:
    reader = EventReader(openai=True)
    reader.feed(b'data: {"object":"error","message":"no such model","code":404}\n\n')
    assert reader.error is not None
    assert reader.error.failure is FailureClass.GONE


def test_a_stream_without_one_event_is_a_failure() -> None:
    reader = EventReader(openai=True)
    assert reader.end() == []
    assert reader.error is not None
    assert reader.error.failure is FailureClass.FAILED


def test_a_clean_end_without_done_is_an_end_after_a_finish_reason() -> None:
    reader = begun()
    reader.feed(FINISH)
    assert reader.end() == []
    assert reader.error is None


def test_a_clean_end_without_done_or_finish_reason_is_a_cut() -> None:
    reader = begun()
    reader.end()
    assert reader.error is not None
    assert reader.error.failure is FailureClass.TRUNCATED


def test_an_end_inside_an_event_is_a_cut() -> None:
    reader = begun()
    reader.feed(FINISH + DELTA[:30])
    reader.end()
    assert reader.error is not None
    assert reader.error.failure is FailureClass.TRUNCATED


def test_a_last_event_that_lacks_only_its_blank_line_counts() -> None:
    reader = begun()
    assert reader.feed(DONE[:-1]) == []
    assert reader.end() == [Chunk(DONE, "done")]
    assert reader.error is None


def test_an_event_that_never_ends_is_given_up() -> None:
    reader = begun()
    for _ in range(5):
        reader.feed(b"x" * 1024 * 1024)
    assert reader.error is not None


def test_a_stream_of_no_known_protocol_is_passed_on_unread() -> None:
    reader = EventReader(openai=False)
    odd = b'data: {"error": "part of the answer"}\n\ndata: [DONE]\n\n'
    assert reader.feed(odd) == [Chunk(odd)]
    assert reader.end() == []
    assert reader.error is None


@pytest.mark.parametrize(
    ("data", "special"),
    [
        (DELTA, False),
        (NULL_USAGE * 3, False),
        (b'data: {"choices": [{"finish_reason": null}], "usage": null}\n\n', False),
        (FINISH, True),
        (USAGE, True),
        (DONE, True),
        (b'data: {"usage" : {"prompt_tokens":1}}\n\n', True),
        (NULL_USAGE + USAGE, True),
    ],
)
def test_the_scan_lets_only_plain_events_by(data: bytes, special: bool) -> None:
    assert is_special(data) is special


def test_events_are_split_at_every_kind_of_line_end() -> None:
    events = [b"data: 1\n\n", b"data: 2\r\n\r\n", b"data: 3\r\r", b"data: 4\n\r\n"]
    assert split_events(b"".join(events)) == events
