"""Continuous batching on the app's own server: real processes, and callers that come and go."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.local_runtime.server.live_runtime import LiveRuntime
from tests.waiting import wait_until

EVENTS = {"Accept": "text/event-stream"}


@pytest.fixture(scope="module")
def spell() -> Iterator[LiveRuntime]:
    with LiveRuntime("spell.py") as live:
        yield live


@pytest.fixture
def client(spell: LiveRuntime) -> Iterator[httpx.Client]:
    with spell.client as client:
        yield client


def test_a_whole_answer_and_a_stream_are_served(client: httpx.Client) -> None:
    assert client.post("/", json={"text": "abc"}).json() == {"text": "abc!"}
    stream = client.post("/", json={"text": "abc"}, headers=EVENTS).text
    said = [line.removeprefix("data: ") for line in stream.split("\n\n") if line]
    assert said == ['"a"', '"b"', '"c"', "[DONE]"]


def test_more_calls_than_places_are_all_answered(client: httpx.Client) -> None:
    """Twelve for four places; the refused and the broken among them alone are not."""
    good = [f"word{number}" for number in range(9)]
    texts = [*good, "", "b@d", "b#d"]

    def answer(text: str) -> httpx.Response:
        return client.post("/", json={"text": text, "pause": 0.002})

    with ThreadPoolExecutor(len(texts)) as pool:
        answers = list(pool.map(answer, texts))
    assert [answer.status_code for answer in answers] == [200] * 9 + [400, 500, 500]
    assert [answer.json()["text"] for answer in answers[:9]] == [f"{text}!" for text in good]


def test_a_failure_in_the_middle_of_a_stream_is_its_last_event(client: httpx.Client) -> None:
    """And no end mark comes behind it."""
    stream = client.post("/", json={"text": "ab@"}, headers=EVENTS).text
    *items, last = [line.removeprefix("data: ") for line in stream.split("\n\n") if line]
    assert items == ['"a"', '"b"']
    assert json.loads(last)["error"]["code"] == "failed"


def test_a_caller_who_hangs_up_has_its_sequence_taken_out(client: httpx.Client) -> None:
    """Long before its last letter."""
    body: dict[str, Any] = {"text": "x" * 2500, "pause": 0.01}
    with client.stream("POST", "/", json=body, headers=EVENTS) as stream:
        next(stream.iter_raw())
    wait_until(lambda: _under_way(client) == 0)
    assert client.post("/", json={"text": "ab"}).json() == {"text": "ab!"}


def _under_way(client: httpx.Client) -> int:
    counts = client.post("/v1/embeddings", json={}).json()
    under_way: int = counts["admitted"] - counts["evicted"]
    return under_way


def test_the_metrics_know_how_many_were_stepped_together(client: httpx.Client) -> None:
    """The largest company of each call."""
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: client.post("/", json={"text": "word", "pause": 0.01}), range(4)))
    lines = client.get("/metrics").text.splitlines()
    alone = _figure(lines, 'runtime_batch_size_bucket{le="1.0",route="/"}')
    assert alone < _figure(lines, 'runtime_batch_size_count{route="/"}')


def _figure(lines: list[str], name: str) -> float:
    (line,) = [line for line in lines if line.startswith(name)]
    return float(line.split()[-1])
