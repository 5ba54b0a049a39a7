"""An app by itself over HTTP: real processes, real sockets."""

from __future__ import annotations

import json
import signal
import socket
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest

from tests.local_runtime.server.live_runtime import LiveRuntime
from tests.waiting import wait_until

EVENTS = {"Accept": "text/event-stream"}
DEEP = b"[" * 100_000


@pytest.fixture(scope="module")
def echo() -> Iterator[LiveRuntime]:
    with LiveRuntime("echo.py") as live:
        yield live


@pytest.fixture
def client(echo: LiveRuntime) -> Iterator[httpx.Client]:
    with echo.client as client:
        yield client


def events(response: httpx.Response) -> list[Any]:
    assert response.headers["content-type"].startswith("text/event-stream")
    data = [line.removeprefix("data: ") for line in response.text.split("\n\n") if line]
    return [one if one == "[DONE]" else json.loads(one) for one in data]


# --- calls ----------------------------------------------------------------------------------------


def test_a_post_to_a_route_is_a_call_of_its_handler(client: httpx.Client) -> None:
    answer = client.post("/", json={"text": ["any", 1, None]})
    assert answer.status_code == 200
    assert answer.json()["echo"] == {"text": ["any", 1, None]}


def test_a_request_id_of_the_caller_reaches_the_handler_and_comes_back(
    client: httpx.Client,
) -> None:
    answer = client.post("/", json=1, headers={"X-Banana-Request-Id": "mine-1"})
    assert answer.json()["id"] == "mine-1"
    assert answer.headers["X-Banana-Request-Id"] == "mine-1"


def test_a_call_without_an_id_or_with_one_that_is_no_id_is_given_one(
    client: httpx.Client,
) -> None:
    """Each its own: an id with a line break or a slash is not passed on."""
    ids = {client.post("/", json=1).headers["X-Request-Id"] for _ in range(2)}
    odd = client.post("/", json=1, headers={"X-Banana-Request-Id": "a/b c"})
    assert len({*ids, odd.headers["X-Request-Id"], odd.json()["id"], "a/b c"}) == 4


def test_a_generator_is_a_list_or_a_stream_as_the_caller_wants(client: httpx.Client) -> None:
    whole = client.post("/count", json={"to": 2})
    stream = client.post("/count", json={"to": 2}, headers=EVENTS)
    assert [item["number"] for item in whole.json()] == [0, 1]
    assert [item if item == "[DONE]" else item["number"] for item in events(stream)] == [
        0,
        1,
        "[DONE]",
    ]


def test_a_whole_answer_is_one_event_for_a_caller_who_wants_a_stream(
    client: httpx.Client,
) -> None:
    first, done = events(client.post("/sleep", json=0, headers=EVENTS))
    assert (first, done) == ({"slept": 0}, "[DONE]")


@pytest.mark.parametrize("asked", [True, False])
def test_openais_client_reads_our_streams_and_gets_usage_when_it_asks(
    echo: LiveRuntime, asked: bool
) -> None:
    options: dict[str, Any] = {"stream_options": {"include_usage": True}} if asked else {}
    with httpx.Client(trust_env=False) as http:
        client = openai.OpenAI(api_key="none", base_url=f"{echo.url}/v1", http_client=http)
        stream = client.chat.completions.create(
            model="m", messages=[{"role": "user", "content": "x"}], stream=True, **options
        )
        chunks = list(stream)
    assert len(chunks) == (3 if asked else 2)
    assert (chunks[-1].usage is not None) == asked


def test_a_generator_that_fails_ends_its_stream_with_an_error_and_no_end_mark(
    client: httpx.Client,
) -> None:
    answer = client.post("/count", json={"to": 3, "fail_at": 2}, headers=EVENTS)
    *items, last = events(answer)
    assert [item["number"] for item in items] == [0, 1]
    assert last["error"]["code"] == "failed"
    assert "secret" not in answer.text
    assert client.get("/_k/status").json()["gpu_available"]


@pytest.mark.parametrize(
    ("path", "body", "status", "code"),
    [
        ("/", b"{", 400, "invalid"),
        ("/refuse", b"1", 400, "invalid"),
        ("/fail", b"1", 500, "failed"),
        ("/odd", b"1", 500, "failed"),
        ("/later", b"{", 400, "invalid"),
        ("/", DEEP, 400, "invalid"),
        ("/batch", DEEP, 400, "invalid"),
        ("/later", DEEP, 400, "invalid"),
        ("/v1/chat/completions", b'{"stream":' + DEEP, 400, "invalid"),
        ("/nothing-here", b"1", 404, "unsupported"),
    ],
)
def test_every_failure_has_one_shape_and_no_traceback(
    client: httpx.Client, path: str, body: bytes, status: int, code: str
) -> None:
    answer = client.post(path, content=body)
    assert answer.status_code == status
    assert answer.json()["error"]["code"] == code
    assert set(answer.json()["error"]) == {"message", "type", "code", "param"}
    assert "secret" not in answer.text
    assert "Traceback" not in answer.text


def test_a_handler_takes_post_alone(client: httpx.Client) -> None:
    answer = client.get("/fail")
    assert (answer.status_code, answer.headers["Allow"]) == (405, "POST")


def test_a_body_above_the_limit_is_refused_before_it_is_sent(echo: LiveRuntime) -> None:
    with socket.create_connection(("127.0.0.1", echo.port), timeout=10) as caller:
        caller.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 999999999\r\n\r\n")
        assert caller.recv(4096).startswith(b"HTTP/1.1 413 ")


def test_a_caller_who_hangs_up_cancels_the_handler(echo: LiveRuntime, client: httpx.Client) -> None:
    """/block runs until it is cancelled; /seen waits for it and says who it was. A call that has
    not begun is dropped instead: then another is made."""
    head = (
        b"POST /block HTTP/1.1\r\nHost: x\r\nX-Banana-Request-Id: %b\r\nContent-Length: 1\r\n\r\n1"
    )

    def cancelled() -> bool:
        with socket.create_connection(("127.0.0.1", echo.port), timeout=10) as caller:
            caller.sendall(head % b"gone")
            wait_until(lambda: client.get("/_k/status").json()["inference_time"] > 0)
        return "gone" in client.post("/seen", json=1).json()

    wait_until(cancelled)
    assert client.get("/_k/status").json()["gpu_available"]


def test_a_reader_who_hangs_up_closes_the_generator(client: httpx.Client) -> None:
    with client.stream("POST", "/count", json={"to": 10**9}, headers=EVENTS) as stream:
        assert next(stream.iter_lines()).startswith("data: ")
    wait_until(lambda: client.get("/_k/status").json()["inference_time"] == 0)


# --- background calls -----------------------------------------------------------------------------


def test_a_background_call_is_answered_at_once_and_its_result_can_be_read(
    client: httpx.Client,
) -> None:
    answer = client.post("/later", json={"n": 7})
    assert answer.status_code == 202
    page = f"/_k/jobs/{answer.json()['job_id']}"
    assert answer.headers["Location"] == page
    wait_until(lambda: client.get(page).json()["status"] == "completed")
    assert client.get(page).json()["output"] == {"done": 7}


def test_a_background_call_repeated_under_one_id_runs_once(client: httpx.Client) -> None:
    for _ in range(2):
        answer = client.post("/later", json={"n": 1}, headers={"X-Request-Id": "twice"})
        assert answer.json() == {"job_id": "twice"}
    wait_until(lambda: client.get("/_k/jobs/twice").json()["status"] == "completed")
    assert client.post("/seen", json=1).json().count("twice") == 1


def test_a_background_call_that_waits_can_be_cancelled(
    echo: LiveRuntime, client: httpx.Client
) -> None:
    """It stands behind /block, which holds the model's thread."""
    head = b"POST /block HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n1"
    with socket.create_connection(("127.0.0.1", echo.port), timeout=10) as caller:
        caller.sendall(head)
        wait_until(lambda: client.get("/_k/status").json()["inference_time"] > 0)
        client.post("/later", json={"n": 1}, headers={"X-Request-Id": "unwanted"})
        cancelled = client.post("/_k/jobs/unwanted/cancel")
    assert cancelled.json()["status"] == "cancelled"
    assert "unwanted" not in client.post("/seen", json=1).json()


def test_a_job_that_nobody_knows_is_404(client: httpx.Client) -> None:
    answers = [client.get("/_k/jobs/none"), client.post("/_k/jobs/none/cancel")]
    assert [answer.status_code for answer in answers] == [404, 404]


# --- what it says of itself -----------------------------------------------------------------------


def test_a_warm_up_runs_every_sample_and_is_not_counted_as_a_call() -> None:
    """Once as a start runs them (twice each), once more by the route."""
    with LiveRuntime("warmups.py") as live, live.client as client:
        before = client.post("/counts", json=1).json()
        assert client.post("/_k/warmup").json() == {"warm": True}
        after = client.post("/counts", json=1).json()
        assert client.get("/_k/status").json()["sequence_number"] == 2
    assert {route: after[route] - before[route] for route in after} == {"/a": 1, "/b": 1, "/c": 0}


def test_the_status_counts_calls_under_both_names(client: httpx.Client) -> None:
    before = client.get("/_k/status").json()
    client.post("/", json=1)
    after = client.get("/__status__").json()
    assert after["sequence_number"] == before["sequence_number"] + 1
    assert set(after) == {"gpu_available", "sequence_number", "idle_time", "inference_time"}


def test_the_metrics_count_calls_failures_and_times(client: httpx.Client) -> None:
    client.post("/sleep", json=0)
    client.post("/fail", json=0)
    text = client.get("/metrics").text
    for line in (
        'runtime_calls_total{outcome="ok",route="/sleep"}',
        'runtime_calls_total{outcome="failed",route="/fail"}',
        'runtime_batch_size_count{route="/sleep"}',
        'runtime_queue_seconds_sum{route="/sleep"}',
        'runtime_exec_seconds_sum{route="/sleep"}',
        'runtime_start_seconds{stage="init",worker="worker-0"}',
        "runtime_worker_restarts_total 0.0",
    ):
        assert f"\n{line}" in text
    assert client.get("/healthz").status_code == 200


def test_calls_leave_no_descriptor_behind(echo: LiveRuntime, client: httpx.Client) -> None:
    """Each on a connection of its own."""
    client.get("/healthz")
    before = echo.descriptors()
    for _ in range(50):
        httpx.post(f"{echo.url}/", json=1, trust_env=False)
    wait_until(lambda: echo.descriptors() <= before)


# --- its life -------------------------------------------------------------------------------------


def test_while_the_model_loads_the_port_answers_503_and_when_to_come_again() -> None:
    live = LiveRuntime("broken/hang_in_init.py").start()
    try:
        wait_until(lambda: live.answers("/healthz"))
        with live.client as client:
            for answer in (
                client.post("/", json=1),
                client.post("/_k/warmup"),
                client.get("/readyz"),
            ):
                assert answer.status_code == 503
                assert int(answer.headers["Retry-After"]) >= 1
            assert not client.get("/_k/status").json()["gpu_available"]
    finally:
        assert live.signal(signal.SIGTERM) == 0


def test_a_worker_that_dies_fails_its_call_and_is_started_again() -> None:
    with LiveRuntime("broken/die_in_handler.py") as live, live.client as client:
        (before,) = live.workers()
        answer = client.post("/", json="kill")
        assert (answer.status_code, answer.json()["error"]["code"]) == (502, "died")
        wait_until(lambda: live.answers("/readyz") and live.workers() not in ([before], []))
        assert "\nruntime_worker_restarts_total 1.0" in client.get("/metrics").text
