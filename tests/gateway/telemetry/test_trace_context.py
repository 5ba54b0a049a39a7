"""What a caller says of its trace is read as W3C Trace Context has it, or not at all."""

from __future__ import annotations

import random

import pytest

from adapters.types import ALL_TASKS
from gateway.telemetry.names import operation_of
from gateway.telemetry.trace_context import TraceIds, read_context

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
GOOD = f"00-{TRACE}-{SPAN}-01"


def test_a_good_header_is_read_and_written_again() -> None:
    context = read_context(GOOD.encode(), b"vendor=1")
    assert context is not None
    assert (context.trace_id, context.span_id, context.sampled) == (TRACE, SPAN, True)
    below = context.below("00f067aa0ba902b7")
    assert below.header_lines() == (
        f"traceparent: 00-{TRACE}-00f067aa0ba902b7-01\r\ntracestate: vendor=1\r\n".encode()
    )


@pytest.mark.parametrize(
    "header",
    [
        "",
        "00",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01-more",
        f"00-{TRACE}-{SPAN}",
        f"00-{TRACE}-{SPAN}-01\r\nx: y",
    ],
)
def test_a_bad_header_says_nothing(header: str) -> None:
    assert read_context(header.encode()) is None


def test_a_later_version_is_read_as_far_as_this_one_reaches() -> None:
    context = read_context(f"01-{TRACE}-{SPAN}-00-what-comes-later".encode())
    assert context is not None
    assert not context.sampled


def test_a_state_that_would_break_out_of_its_line_is_dropped() -> None:
    for state in (b"a=1\r\nx: y", b"a" * 600):
        context = read_context(GOOD.encode(), state)
        assert context is not None
        assert context.state == ""


def test_as_many_traces_are_kept_as_the_policy_says() -> None:
    ids = TraceIds(random.Random(3), 0.25)
    kept = sum(ids.begin().sampled for _ in range(4000))
    assert 900 < kept < 1100
    assert all(len(ids.begin().trace_id) == 32 and len(ids.span_id()) == 16 for _ in range(100))


def test_every_task_has_an_operation() -> None:
    assert all(operation_of(task) for task in ALL_TASKS)
    assert operation_of("chat") == "chat"
    assert operation_of("completions") == "text_completion"
