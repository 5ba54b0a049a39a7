"""A stream of several choices is whole when each of them is."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from adapters.errors import FailureClass
from adapters.http.sse import DONE, EventReader


@pytest.mark.parametrize(
    ("asked", "ended", "whole"),
    [
        ({}, 1, True),
        ({"n": 2}, 1, False),
        ({"n": 2}, 2, True),
        ({"n": None, "prompt": "a"}, 1, True),
        ({"prompt": ["a", "b"]}, 1, False),
        ({"prompt": ["a", "b"], "n": 2}, 3, False),
        ({"prompt": ["a", "b"], "n": 2}, 4, True),
        ({"prompt": [[1, 2], [3]]}, 1, False),
        ({"prompt": [1, 2, 3]}, 1, True),
        ({"n": "many"}, 1, True),
    ],
    ids=str,
)
@pytest.mark.parametrize("end", [b"", DONE], ids=["closed", "done"])
def test_choices_that_were_asked_for_and_never_ended_are_a_cut_where_no_done_comes(
    asked: dict[str, Any], ended: int, whole: bool, end: bytes
) -> None:
    reader = EventReader(openai=True, asked=msgspec.json.encode(asked))
    for index in range(ended):
        choice = {"index": index, "delta": {"content": "a"}, "finish_reason": "stop"}
        reader.feed(b"data: %b\n\n" % msgspec.json.encode({"choices": [choice]}))
    reader.feed(end)
    reader.end()
    cut = reader.error is not None and reader.error.failure is FailureClass.TRUNCATED
    assert cut is not (whole or bool(end))


def choice(index: int, ends: bool = False) -> bytes:
    """An event of one choice of several."""
    told = {"index": index, "delta": {"content": "a"}, "finish_reason": "stop" if ends else None}
    return b"data: %b\n\n" % msgspec.json.encode({"choices": [told]})


@pytest.mark.parametrize(
    ("events", "whole"),
    [
        ([choice(0), choice(1), choice(0, ends=True), choice(1, ends=True)], True),
        ([choice(0), choice(1), choice(0, ends=True)], False),
        ([choice(0), choice(1), choice(1, ends=True)], False),
        ([choice(0), choice(1)], True),
        ([choice(0), choice(0, ends=True)], True),
    ],
    ids=["both end", "the second does not", "the first does not", "never told", "one alone"],
)
@pytest.mark.parametrize("at_once", [True, False], ids=["at once", "one by one"])
def test_done_in_the_middle_of_a_choice_is_a_cut_where_another_says_why_it_ended(
    events: list[bytes], whole: bool, at_once: bool
) -> None:
    reader = EventReader(openai=True, asked=b'{"n": 2}')
    chunks = [
        chunk
        for part in ([b"".join([*events, DONE])] if at_once else [*events, DONE])
        for chunk in reader.feed(part)
    ]
    assert reader.done is whole
    assert (reader.error is None) is whole
    assert any(chunk.kind == "done" for chunk in chunks) is whole
    if reader.error is not None:
        assert reader.error.failure is FailureClass.TRUNCATED
        assert "choice" in reader.error.message
