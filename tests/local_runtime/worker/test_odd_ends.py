"""A handler may end in any way at all: its call has an end, and its worker serves the next."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from local_runtime.protocol.events import Done, Run
from tests.local_runtime.server.live_runtime import LiveRuntime
from tests.local_runtime.worker.bench import Bench

FAILED = (500, "failed")
INVALID = (400, "invalid")
ENDS = {
    "panic": FAILED,
    "interrupt": FAILED,
    "exit": FAILED,
    "generator exit": FAILED,
    "cancelled": FAILED,
    "speechless": FAILED,
    "half a pair": FAILED,
    "a megabyte": FAILED,
    "refused by an exception": INVALID,
    "refused at an index": INVALID,
    "refused with half a pair": INVALID,
    "half a pair in the body": FAILED,
}


@pytest.fixture(scope="module")
def client() -> Iterator[httpx.Client]:
    with LiveRuntime("broken/odd_ends.py") as live, live.client as client:
        yield client


@pytest.mark.parametrize("route", ["/", "/gentle", "/batch", "/stream"])
def test_whatever_a_handler_raises_fails_its_call_alone(client: httpx.Client, route: str) -> None:
    """BaseException too, and texts that are none, or that no frame can hold."""
    process = client.post("/", json="its process").json()
    for way, (status, code) in ENDS.items():
        answer = client.post(route, json=way)
        assert (way, answer.status_code, answer.json()["error"]["code"]) == (way, status, code)
    assert client.post("/", json="its process").json() == process


def test_a_refusal_is_told_in_words_whatever_it_was_made_of(client: httpx.Client) -> None:
    errors = [
        client.post("/", json=way).json()["error"]
        for way in ("refused by an exception", "refused at an index", "refused with half a pair")
    ]
    assert [(error["message"], error["param"]) for error in errors] == [
        ("too long", None),
        ("too long", "3"),
        ("bad \\ud800", "\\udfff"),
    ]


@pytest.mark.parametrize("way", ["tokens beyond number", "half a pair in a header"])
def test_a_result_is_answered_without_what_cannot_be_said_of_it(
    client: httpx.Client, way: str
) -> None:
    assert client.post("/batch", json=way).status_code == 200


def test_an_app_that_has_closed_its_log_is_served_on() -> None:
    """Its tracebacks are lost, and no more."""
    with LiveRuntime("broken/odd_ends.py") as live, live.client as client:
        process = client.post("/", json="its process").json()
        for _ in range(2):
            assert client.post("/", json="closed log").json()["error"]["code"] == "failed"
        assert client.post("/", json="its process").json() == process


async def test_an_answer_that_cannot_be_sent_fails_its_call_and_no_other() -> None:
    """It would have no end at all, and those behind it in the batch neither."""
    bench = Bench()
    bench.say(Run(1, "/batch", b"1"))
    bench.say(Run(2, "/batch", b"2"))
    (work,) = bench.runner.begun
    results = [Done(1, True, b"1", message="\ud800"), Done(2, True, b"2")]
    bench.calls.jobs.finished(work, results, None)
    bad, good = [event for event in await bench.sent() if isinstance(event, Done)]
    assert (bad.id, bad.kind, good.data) == (1, "failed", b"2")
    assert bad.message == "the answer could not be sent (UnicodeEncodeError)"


def test_an_app_may_have_thousands_of_routes(client: httpx.Client) -> None:
    """What its worker tells its supervisor, and the server whoever started it, is bounded."""
    assert client.post("/one/of/three/thousand/routes/2999", json=1).json() == 2999
