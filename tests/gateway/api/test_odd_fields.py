"""Whatever stands in a field that is read of a chat, a message or a response: a call, or an error
that says what was wrong."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.types import Task
from gateway.api.calls.openai import parsed_call
from gateway.clock import FakeClock
from gateway.types import ApiError
from tests.gateway.assembled import ALICE, POLICY, assembled

WORDS = st.sampled_from(
    ("text", "document", "tool_result", "tool_use", "image_url", "function", "data:x", "", "user",
     "message", "web_search", "json_schema", "function_call_output")
)  # fmt: skip
NAMES = st.sampled_from(
    ("type", "role", "content", "source", "text", "data", "output", "input", "image", "tools",
     "image_url", "file_data")
)  # fmt: skip
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=10,
)
ITEMS = st.lists(st.dictionaries(NAMES, VALUES, max_size=4), min_size=1, max_size=3)
FIELDS = st.sampled_from(
    ("messages", "input", "tools", "response_format", "web_search_options", "output_config",
     "output_format", "text", "max_tokens", "max_completion_tokens", "max_output_tokens", "n",
     "best_of", "stream", "stream_options", "prompt_cache_key", "background")
)  # fmt: skip
CHOOSY = POLICY.replace("home: {kind: fake,", "home: {kind: fake, takes: [tools], context: 100,")


@pytest.mark.parametrize("task", ["chat", "messages", "responses", "count_tokens"])
async def test_no_value_of_a_field_is_a_fault_of_ours(
    task: Task, tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock, CHOOSY) as gateway:
        active = gateway.inner.active

        @settings(deadline=None, max_examples=300)
        @given(ITEMS, st.dictionaries(FIELDS, VALUES, max_size=3))
        def read(items: list[Any], more: dict[str, Any]) -> None:
            body = msgspec.json.encode({"model": "chat", "messages": items, "input": items, **more})
            with contextlib.suppress(ApiError):
                parsed = parsed_call(active, ALICE, task, body)
                active.demands.needs(parsed, parsed.abilities)

        read()


@pytest.mark.parametrize(
    ("path", "part"),
    [
        ("/v1/chat/completions", {"type": []}),
        ("/v1/messages", {"type": {}}),
        ("/v1/messages", {"type": "document", "source": "x"}),
        ("/v1/messages", {"type": "tool_result", "content": [{"type": []}]}),
        ("/v1/responses", {"type": []}),
    ],
    ids=["chat", "message", "document", "found", "response"],
)
async def test_a_part_of_no_kind_is_answered_or_refused(
    path: str, part: dict[str, Any], tmp_path: Path, clock: FakeClock
) -> None:
    message = {"role": "user", "content": [part]}
    body = {
        "model": "chat",
        "max_tokens": 5,
        "messages": [message],
        "input": [message],
        "tools": [{"type": []}],
    }
    async with assembled(tmp_path, clock) as gateway, gateway.client() as client:
        assert (await client.post(path, json=body)).status_code in (200, 400)
