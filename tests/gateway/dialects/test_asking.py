"""Whatever a request or an answer holds, a call in other words fails in one way or not at all."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.errors import BackendError, FailureClass
from adapters.fake import Fake, FakeSettings
from adapters.types import Call, Chunk, Reply, Task
from gateway.clock import FakeClock
from gateway.dialects.asking import ask

UNTIMED = settings(deadline=None, max_examples=50)
WORDS = st.sampled_from(
    ("text", "image", "tool_use", "tool_result", "function", "message", "function_call", "user",
     "assistant", "", "type", "content", "function_call_output", "input_text")
)  # fmt: skip
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | WORDS,
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(
            ("type", "role", "content", "text", "source", "input", "function", "tool_calls",
             "choices", "message", "delta", "name", "arguments", "output", "index")
        ),
        inner,
        max_size=4,
    ),
    max_leaves=12,
)  # fmt: skip
TASKS = pytest.mark.parametrize("task", ["messages", "responses"])


def call_of(task: str, stream: bool = False, **asked: Any) -> Call:
    body = msgspec.json.encode({"model": "m", **asked})
    return Call(id="req_1", model="m", task=cast(Task, task), body=body, stream=stream)


def outcome(call: Call, answer: Reply | list[Chunk | BackendError]) -> str:
    """What a backend is asked for comes to: "answered", "refused" or "broken"."""
    fake = Fake("f", FakeSettings(), FakeClock())
    fake.tell(answer)

    async def run() -> str:
        try:
            reply = await ask(fake, call)
            if reply.chunks is not None:
                _ = [chunk async for chunk in reply.chunks]
        except BackendError as error:
            return "broken" if fake.calls else f"refused {error.failure.slug}"
        return "answered"

    return asyncio.run(run())


@TASKS
@UNTIMED
@given(items=VALUES, tools=VALUES, system=VALUES, choice=VALUES)
def test_a_request_of_any_shape_is_asked_or_refused(
    task: str, items: Any, tools: Any, system: Any, choice: Any
) -> None:
    asked = {"messages": items, "input": items, "tools": tools, "system": system}
    call = call_of(task, **asked, tool_choice=choice, text=choice, instructions=system)
    answer = Reply(body=b'{"choices":[{"message":{"content":"x"},"finish_reason":"stop"}]}')
    assert outcome(call, answer) in ("answered", "refused invalid", "refused unsupported")


@TASKS
@UNTIMED
@given(answer=VALUES)
def test_an_answer_of_any_shape_is_written_or_broken(task: str, answer: Any) -> None:
    call = call_of(task, messages=[], input="hi")
    assert outcome(call, Reply(body=msgspec.json.encode(answer))) in ("answered", "broken")


@TASKS
@UNTIMED
@given(events=st.lists(VALUES, max_size=4))
def test_a_stream_of_any_events_is_written_or_broken(task: str, events: list[Any]) -> None:
    call = call_of(task, stream=True, messages=[], input="hi")
    chunks = [Chunk(b"data: " + msgspec.json.encode(event) + b"\n\n") for event in events]
    done = Chunk(b"data: [DONE]\n\n", "done")
    assert outcome(call, [*chunks, done]) in ("answered", "broken")


@TASKS
def test_a_stream_that_breaks_breaks_as_it_did(task: str) -> None:
    call = call_of(task, stream=True, messages=[], input="hi")
    assert outcome(call, [BackendError(FailureClass.TRUNCATED, "cut")]) == "broken"
