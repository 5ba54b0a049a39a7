"""An event that is like one that was read says the same but for its text."""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.http.plain_events import KnownEvent, decode, known_event, plain_tokens

DELTAS: list[dict[str, object]] = [
    {"delta": {"content": "{}"}},
    {"delta": {"content": "{}", "role": "assistant", "refusal": None}},
    {"delta": {"reasoning_content": "{}", "content": None}},
    {"text": "{}", "finish_reason": None},
]
AROUND: list[dict[str, object]] = [
    {"id": "chat-1", "object": "chat.completion.chunk", "usage": None},
    {"id": "a", "model": "content", "nested": {"content": "a", "list": [1, "a"]}},
    {},
]


def event(around: dict[str, object], choice: dict[str, object], text: str) -> bytes:
    """As a server writes it: spaces and escapes as Python's json has them."""
    payload = json.dumps({**around, "choices": [choice]}).replace("{}", json.dumps(text)[1:-1])
    return f"data: {payload}\n\n".encode()


EVENTS = st.builds(
    event,
    st.sampled_from(AROUND),
    st.sampled_from(DELTAS),
    st.text(max_size=30) | st.sampled_from(["a", "content", "chat-1", '"', "\\", "}"]),
)


def text_of(data: bytes) -> tuple[object, str | None]:
    """All that is read of an event without its text, and that."""
    read = decode(data[6:])
    [choice] = read.choices or []
    delta = choice.delta
    texts = [choice.text] if delta is None else [delta.content, delta.reasoning_content]
    [text] = [each for each in texts if each is not None]
    if delta is None:
        choice.text = None
    else:
        delta.content = delta.reasoning_content = None
    return msgspec.to_builtins(read), text


@given(first=EVENTS, then=EVENTS | st.binary(max_size=80))
def test_what_is_like_a_known_event_says_the_same_of_all_but_one_token_of_text(
    first: bytes, then: bytes
) -> None:
    known = known_event(first)
    if known is not None and known.count(then) == 1:
        assert plain_tokens(then, set()) == (1, 1)
        (around, _), (others, text) = text_of(first), text_of(then)
        assert others == around
        assert then == known.before + (text or "").encode() + known.behind


@given(text=st.from_regex(r"[ !#-\[\]-~]{1,24}", fullmatch=True), choice=st.sampled_from(DELTAS))
def test_words_of_one_stream_are_like_each_other(text: str, choice: dict[str, object]) -> None:
    known = known_event(event(AROUND[0], choice, " first"))
    assert known is not None
    one = event(AROUND[0], choice, text)
    assert known.count(one) == 1
    assert known.count(3 * one) == 3
    assert known.count(one + b": a comment\n\n") == known.count(one + one[:-1]) == 0


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b'"',
        b"\\",
        b"\\u0041",
        b'", "error": "',
        "é".encode(),
        b"x" * 25,
        b"\n",
        b"\x7f",
        b"\0",
    ],
)
def test_a_text_that_is_more_than_itself_is_read_as_json(text: bytes) -> None:
    known = KnownEvent(b'data: {"choices": [{"text": "', b'"}]}\n\n')
    assert known.count(known.before + text + known.behind) == 0


@pytest.mark.parametrize(
    "data",
    [
        b'data: {"id": "a", "choices": [{"delta": {"content": "a"}}]}\n\n',
        b'data: {"x": {"content": "a"}, "choices": [{"delta": {"content": "\\u0061"}}]}\n\n',
        b'data: {"choices": [{"delta": {"content": "a"}}, {"delta": {"content": "b"}}]}\n\n',
        b'data: {"choices": [{"delta": {"content": "a"}, "finish_reason": "stop"}]}\n\n',
        b'data: {"choices": [{"delta": {"content": "a"}}], "usage": {}}\n\n',
        b'data: {"choices": [{"delta": {"tool_calls": []}}]}\n\n',
        b"data: no JSON\n\n",
        b"",
    ],
    ids=["elsewhere", "as an escape", "two", "ends", "usage", "no text", "no json", "nothing"],
)
def test_of_an_event_whose_text_is_not_the_only_thing_that_changes_nothing_is_known(
    data: bytes,
) -> None:
    assert known_event(data) is None
