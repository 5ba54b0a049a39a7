"""Events with names, ids and comments, in any split of bytes."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.errors import BackendError, FailureClass
from adapters.http.named_events import NamedEvent, NamedEvents

STREAM = (
    b"event: output\nid: 1:0\ndata: two\ndata: lines\n\n"
    b": hello\n\n"
    b"event: new\r\ndata:tight\r\n\r\n"
    b"data: nameless\n\n"
    b"event: done\ndata: {}\n\n"
)
EVENTS = [
    NamedEvent(name="output", id="1:0", data=b"two\nlines"),
    NamedEvent(comment=b"hello"),
    NamedEvent(name="new", data=b"tight"),
    NamedEvent(data=b"nameless"),
    NamedEvent(name="done", data=b"{}"),
]


@given(st.lists(st.integers(0, len(STREAM)), max_size=6))
def test_any_split_of_the_bytes_gives_the_same_events(cuts: list[int]) -> None:
    reader = NamedEvents()
    places = [0, *sorted(cuts), len(STREAM)]
    pieces = [STREAM[a:b] for a, b in pairwise(places)]
    found = [event for piece in pieces for event in reader.feed(piece)]
    assert [event for event in found if event != NamedEvent()] == EVENTS


def test_what_is_left_at_the_end_gives_its_comments_and_no_half_event() -> None:
    reader = NamedEvents()
    assert reader.feed(b"data: half") == []
    assert reader.rest() == []
    assert reader.feed(b":408: Request Timeout") == []
    assert reader.rest() == [NamedEvent(comment=b"408: Request Timeout")]


def test_an_event_without_an_end_is_not_gathered_for_ever() -> None:
    with pytest.raises(BackendError) as caught:
        NamedEvents(max_event=100).feed(b"data: " + b"x" * 100)
    assert caught.value.failure is FailureClass.MALFORMED
