"""OpenAI's event streams, in the dialects of its servers."""

from __future__ import annotations

import msgspec
import pytest

from adapters.errors import FailureClass
from adapters.http.sse import EventReader
from adapters.http.token_counts import tokens_made
from adapters.types import Chunk, Usage
from adapters.whole_events import split_events

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
        Chunk(FINISH, tokens=0),
        Chunk(USAGE, "usage", usage),
        Chunk(DONE, "done"),
    ]
    assert reader.usage == usage


def test_usage_on_the_finishing_event_is_data_that_tells_it() -> None:
    reader = begun()
    usage = Usage(input_tokens=3, output_tokens=2)
    assert reader.feed(FINISH_WITH_USAGE) == [Chunk(FINISH_WITH_USAGE, "data", usage, 0)]
    assert reader.choices.finished


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
    assert reader.feed(odd) == [Chunk(odd, tokens=0)]
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
    assert reader.error.failure is FailureClass.MALFORMED


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
    reader = EventReader(openai=True, max_event=1000)
    for _ in range(5):
        assert reader.error is None
        reader.feed(b"x" * 250)
    assert reader.error is not None


def test_a_stream_of_no_known_protocol_is_passed_on_unread() -> None:
    reader = EventReader(openai=False)
    odd = b'data: {"error": "part of the answer"}\n\ndata: [DONE]\n\n'
    assert reader.feed(odd) == [Chunk(odd)]
    assert reader.end() == []
    assert reader.error is None


def test_events_are_split_at_every_kind_of_line_end() -> None:
    events = [b"data: 1\n\n", b"data: 2\r\n\r\n", b"data: 3\r\r", b"data: 4\n\r\n"]
    assert split_events(b"".join(events)) == events


def piece(text: str | None) -> bytes:
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": None}
    return b"data: " + msgspec.json.encode({"choices": [choice]}) + b"\n\n"


def tokens(chunks: list[Chunk]) -> int:
    return sum(
        len(split_events(chunk.data)) if chunk.tokens is None else chunk.tokens for chunk in chunks
    )


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize("step", [1, 7, 10_000])
def test_only_what_brings_text_counts_as_tokens(end: bytes, step: int) -> None:
    """Neither the event with the role nor the one that finishes; whatever the line ends."""
    role = b'data: {"choices":[{"delta":{"role":"assistant","content":""}}]}\n\n'
    events = role + piece("one") + b": still there\n\n" + piece(" two") + piece("") + FINISH + DONE
    sent = events.replace(b"\n", end)
    reader = EventReader(openai=True)
    chunks = [c for at in range(0, len(sent), step) for c in reader.feed(sent[at : at + step])]
    assert reader.done
    assert b"".join(chunk.data for chunk in chunks) == sent
    assert tokens([chunk for chunk in chunks if chunk.kind == "data"]) == 2


def test_an_event_with_many_words_is_many_tokens() -> None:
    assert tokens(begun().feed(piece("x" * 400))) == 100
    reasoned = b'data: {"choices":[{"delta":{"reasoning_content":"hm"}}]}\n\n'
    called = b'data: {"choices":[{"delta":{"tool_calls":[{"function":{"arguments":"{"}}]}}]}\n\n'
    assert tokens(begun().feed(reasoned + called)) == 2


ANY_FIELD = [
    b'"content":"T"',
    b'"content":[{"type":"text","text":"T"}]',
    b'"reasoning":"T","reasoning_content":"T"',
    b'"reasoning":"T","reasoning_details":[{"type":"reasoning.text","text":"T","id":"r1"}]',
    b'"thinking":"T"',
    b'"refusal":"T"',
    b'"audio":{"id":"a","transcript":"T"}',
    b'"function_call":{"arguments":"T"}',
    b'"tool_calls":[{"index":0,"id":"t","type":"function","function":{"arguments":"T"}}]',
    b'"tool_calls":[{"index":0,"id":"t","type":"custom","custom":{"input":"T"}}]',
    b'"tool_calls":[{"function":{"arguments":{"a":"T"}}}]',
]


@pytest.mark.parametrize("field", ANY_FIELD, ids=lambda field: field.decode()[:40])
def test_text_is_counted_in_whatever_field_it_stands(field: bytes) -> None:
    """Once, and nothing of what stands beside it: in a stream, in one event or many, and whole."""
    said = b'"role":"assistant",' + field
    word, long = (said.replace(b'"T"', b'"%b"' % (b"x" * n)) for n in (4, 400))
    events = b"".join([b'data: {"choices":[{"delta":{%b}}]}\n\n' % text for text in (word, long)])
    assert tokens(EventReader(openai=True).feed(events)) == 101
    assert tokens(begun().feed(events)) == 101
    whole = msgspec.json.decode(b'{"choices":[{"index":0,"message":{%b}}]}' % long)
    assert tokens_made(whole) == 100


@pytest.mark.parametrize(
    "field",
    [b'"content":""', b'"content":null', b'"tool_calls":[]', b'"annotations":[{"url":"u"}]',
     b'"id":"7"'],
    ids=lambda field: field.decode(),
)  # fmt: skip
def test_what_says_nothing_holds_no_token(field: bytes) -> None:
    event = b'data: {"choices":[{"delta":{"role":"assistant",%b}}]}\n\n' % field
    assert tokens(begun().feed(event)) == 0
    assert EventReader(openai=True).feed(event) == []


def test_sound_and_pictures_are_something_but_no_text() -> None:
    event = b'data: {"choices":[{"delta":{"audio":{"data":"%b"}}}]}\n\n' % (b"QUJD" * 1000)
    assert tokens(EventReader(openai=True).feed(event)) == 1


def test_an_error_keeps_the_usage_that_stands_beside_it() -> None:
    reader = EventReader(openai=True)
    reader.feed(
        b'data: {"error":{"message":"boom"},"usage":{"prompt_tokens":3,"completion_tokens":2}}\n\n'
    )
    assert reader.error is not None
    assert reader.error.usage == Usage(input_tokens=3, output_tokens=2)
    late = begun()
    late.feed(
        b'data: {"error":{"message":"boom"},"usage":{"prompt_tokens":3,"completion_tokens":2}}\n\n'
    )
    assert late.error is not None
    assert late.error.usage == Usage(input_tokens=3, output_tokens=2)


@pytest.mark.parametrize("step", [1, 2, 1000])
def test_a_byte_order_mark_is_no_part_of_the_first_event(step: int) -> None:
    sent = b"\xef\xbb\xbf" + DELTA
    for reader in (EventReader(openai=True), EventReader(openai=False)):
        chunks = [c for at in range(0, len(sent), step) for c in reader.feed(sent[at : at + step])]
        assert chunks == [Chunk(DELTA)]


@pytest.mark.parametrize(
    "bad",
    [
        b"data: {\n\n",
        b'data: {"choices":[{"delta":{"content":"w1\n\n',
        b"data: <html>\n\n",
        b"data: ping\n\n",
        b'data: {"choices":[{"delta":' + b"[" * 50_000 + b"\n\n",
    ],
)
def test_an_event_that_is_no_json_ends_the_stream_in_an_error(bad: bytes) -> None:
    first = EventReader(openai=True)
    assert first.feed(bad + DELTA) == []
    assert first.error is not None
    assert "no JSON" in first.error.message
    later = begun()
    assert later.feed(DELTA + bad + DELTA + DONE) == [Chunk(DELTA)]
    assert later.error is not None
    assert later.error.failure is FailureClass.TRUNCATED
    assert not later.done


def test_bytes_that_are_no_utf_8_are_replaced() -> None:
    reader = begun()
    (chunk,) = reader.feed(DELTA.replace(b"hi", b"h\xff"))
    assert chunk.data == DELTA.replace(b"hi", "h\N{REPLACEMENT CHARACTER}".encode())
    assert reader.error is None


@pytest.mark.parametrize(
    "odd",
    [
        b'data: {"choices":[{"delta":{"content":[{"text":"x"}]},"finish_reason":"stop"}]}\n\n',
        b'data: {"choices":[{"delta":"x","finish_reason":"stop"}],"object":7}\n\n',
        b'data: {"choices":[null,{"finish_reason":"stop"}]}\n\n',
    ],
)
def test_fields_of_other_types_hide_no_end(odd: bytes) -> None:
    reader = begun()
    assert [chunk.data for chunk in reader.feed(odd)] == [odd]
    assert reader.choices.finished


@pytest.mark.parametrize("odd", [b"data: 7\n\n", b'data: {"choices":3}\n\n', b"data: []\n\n"])
def test_json_of_another_shape_is_passed_on(odd: bytes) -> None:
    assert [chunk.data for chunk in begun().feed(odd)] == [odd]


@pytest.mark.parametrize("usage", [b"[]", b'"12"', b"null", b"{}", b'{"prompt_tokens":-1}'])
def test_usage_of_another_shape_neither_ends_a_stream_nor_forgets_what_was_said(
    usage: bytes,
) -> None:
    reader = begun()
    reader.feed(USAGE)
    event = b'data: {"choices":[{"finish_reason":"stop"}],"usage":%b}\n\n' % usage
    assert [chunk.data for chunk in reader.feed(event)] == [event]
    assert reader.choices.finished
    assert reader.usage == Usage(input_tokens=3, output_tokens=2)


@pytest.mark.parametrize("error", [b"null", b'""', b"{}", b"false"])
def test_an_error_that_says_nothing_ends_no_stream(error: bytes) -> None:
    reader = begun()
    event = b'data: {"choices":[{"delta":{"content":"x"}}],"error":%b}\n\n' % error
    assert [chunk.data for chunk in reader.feed(event)] == [event]
    assert reader.error is None


def test_a_large_event_is_put_together_once() -> None:
    """In time that grows with its size, and no faster."""
    event = piece("x" * 3_000_000)
    reader = begun()
    chunks = [c for at in range(0, len(event), 1000) for c in reader.feed(event[at : at + 1000])]
    assert [chunk.data for chunk in chunks] == [event]
