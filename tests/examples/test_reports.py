"""The example of a long job: its result at the webhook, its progress, its end when cancelled."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from examples.reports import MAX_TEXTS, alike, groups
from tests.live import ROOT
from tests.local_runtime.server.live_runtime import LiveRuntime
from tests.waiting import wait_until
from tests.webhook_receiver import listening

APP = str(ROOT / "examples" / "reports.py")
TEXTS = [
    "How do I reset my password?",
    "The invoice of March is wrong.",
    "How can I reset my password?",
    "There is a mistake in the invoice of March.",
    "Do you ship to Iceland?",
    "how do i reset my password",
]


@pytest.fixture(name="client", scope="module")
def _client() -> Iterator[httpx.Client]:
    with LiveRuntime(APP, "--threads", "1", "--device", "cpu") as live, live.client as client:
        yield client


def test_the_report_goes_to_the_webhook_and_can_be_read(client: httpx.Client) -> None:
    """Three ways of asking one thing are one group, two complaints another; the rest is none."""
    with listening() as receiver:
        body = {"texts": TEXTS, "threshold": 0.8, "webhook": receiver.url}
        answer = client.post("/report", json=body, headers={"X-Request-Id": "first"})
        assert (answer.status_code, answer.json()) == (202, {"job_id": "first"})
        sent = receiver.hear()
    assert sent["job_id"] == "first"
    assert sent["status"] == "completed"
    assert sent["output"]["groups"] == [[0, 2, 5], [1, 3]]
    assert sent["output"]["texts"] == 6
    # The worker tells the webhook before it tells the server.
    wait_until(lambda: client.get("/_k/jobs/first").json()["status"] == "completed")
    assert client.get("/_k/jobs/first").json()["output"] == sent["output"]
    assert client.post("/progress", json={"job_id": "first"}).json()["done"] == 1


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({}, "texts"),
        ({"texts": []}, "length >= 1"),
        ({"texts": ["x"] * (MAX_TEXTS + 1)}, f"length <= {MAX_TEXTS}"),
        ({"texts": ["x"], "threshold": 7}, "<= 1"),
    ],
)
def test_a_job_that_cannot_be_done_fails_with_the_reason(
    client: httpx.Client, body: Any, told: str
) -> None:
    job = client.post("/report", json=body).json()["job_id"]
    wait_until(lambda: client.get(f"/_k/jobs/{job}").json()["status"] != "running")
    read = client.get(f"/_k/jobs/{job}").json()
    assert read["status"] == "failed"
    assert told in read["error"]


def test_a_cancelled_job_ends_at_its_next_step(client: httpx.Client) -> None:
    """It stops short of its end, and the worker does the next job."""
    texts = [f"text number {n} of a great many" for n in range(MAX_TEXTS)]
    client.post("/report", json={"texts": texts}, headers={"X-Request-Id": "long"})
    wait_until(lambda: client.post("/progress", json={"job_id": "long"}).status_code == 200)
    assert client.post("/_k/jobs/long/cancel").json()["status"] == "cancelled"
    client.post("/report", json={"texts": TEXTS}, headers={"X-Request-Id": "next"})
    wait_until(lambda: client.get("/_k/jobs/next").json()["status"] == "completed")
    assert 0 < client.post("/progress", json={"job_id": "long"}).json()["done"] < 1


def test_the_progress_of_an_unknown_job_is_refused(client: httpx.Client) -> None:
    for body in ({"job_id": "none"}, {}, 5):
        answer = client.post("/progress", json=body)
        assert answer.status_code == 400
        assert answer.json()["error"]["param"] == "job_id"


# --- what is alike --------------------------------------------------------------------------------


def test_what_hangs_together_by_any_number_of_pairs_is_one_group() -> None:
    assert groups([(0, 4), (2, 3), (4, 9), (1, 9)]) == [[0, 1, 4, 9], [2, 3]]
    assert groups([]) == []


@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), max_size=30))
def test_groups_part_what_was_paired_and_join_nothing_else(pairs: list[tuple[int, int]]) -> None:
    """Against the plainest way: join sets until none touches another."""
    sets = [{a, b} for a, b in pairs]
    for index in range(len(sets)):
        for other in range(index):
            if sets[index] & sets[other]:
                sets[index] |= sets[other]
                sets[other] = set()
    assert groups(pairs) == sorted(sorted(one) for one in sets if one)


def test_pairs_are_those_above_the_threshold_each_once() -> None:
    """At right angles: not alike. Found from any start, as often as the steps come by: once."""
    vectors = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.8, 0.6], [1.0, 0.0]])
    assert set(alike(vectors, 0, 0.9)) == {(0, 3)}
    assert sorted(alike(vectors, 0, 0.75)) == [(0, 2), (0, 3), (2, 3)]
    assert list(alike(vectors, 3, 0.1)) == []
