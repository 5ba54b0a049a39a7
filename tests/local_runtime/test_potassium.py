"""A Potassium app, its import line changed, as its users know it: by Banana's own client."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import banana_dev
import httpx
import pytest

from tests.adapters.local.backends import call, running
from tests.local_runtime.server.live_runtime import PROGRAMS, LiveRuntime

APP = PROGRAMS / "potassium_app.py"


@pytest.fixture(scope="module")
def served() -> Iterator[LiveRuntime]:
    """Started as Potassium apps are: by running the file."""
    with LiveRuntime("", command=[sys.executable, str(APP)]) as live:
        yield live


@pytest.fixture
def banana(served: LiveRuntime) -> banana_dev.Client:
    return banana_dev.Client(api_key="a-key", url=served.url)


def test_bananas_client_is_answered_with_the_json_and_the_headers(
    banana: banana_dev.Client,
) -> None:
    """Its key and its request id reach the handler."""
    answer, meta = banana.call("/", {"text": "drawer"})
    assert answer["reversed"] == "reward"
    assert answer["key"] == "a-key"
    assert answer["id"] == meta["headers"]["X-Banana-Request-Id"]


def test_bananas_client_can_warm_the_app_up(banana: banana_dev.Client) -> None:
    assert banana.warmup()[0] == {"warm": True}


def test_a_status_of_the_handlers_choice_is_the_status(
    served: LiveRuntime, banana: banana_dev.Client
) -> None:
    with pytest.raises(Exception, match="teapot"):
        banana.call("/teapot", {})
    answer = httpx.post(f"{served.url}/teapot", json={}, trust_env=False)
    assert (answer.status_code, answer.json()) == (418, {"short": "stout"})
    assert answer.headers["X-Spout"] == "left"


@pytest.mark.parametrize("route", ["/untyped", "/pieces"])
@pytest.mark.parametrize("status", [204, 304])
def test_a_status_without_a_body_has_none_and_the_connection_goes_on(
    served: LiveRuntime, route: str, status: int
) -> None:
    """What followed the head would be read as the next answer."""
    with served.client as client:
        answer = client.post(route, json={"status": status})
        assert (answer.status_code, answer.content) == (status, b"")
        assert "content-length" not in answer.headers
        assert client.post(route, json={"status": 200}).content in (b"<p>hi</p>", b"012")


@pytest.mark.parametrize("route", ["/untyped", "/pieces"])
@pytest.mark.parametrize("status", [100, 600])
def test_a_status_that_is_none_is_a_failure_of_the_handler(
    served: LiveRuntime, route: str, status: int
) -> None:
    with served.client as client:
        answer = client.post(route, json={"status": status})
    assert answer.status_code == 500
    assert "ValueError" in answer.json()["error"]["message"]


def test_a_body_without_a_type_is_a_page_as_in_potassium(served: LiveRuntime) -> None:
    with served.client as client:
        answer = client.post("/untyped", json={"status": 200})
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"


@pytest.mark.parametrize(("route", "text"), [("/nested", "c"), ("/nested/stream", "ab")])
def test_a_handler_may_run_an_event_loop_of_its_own(
    served: LiveRuntime, route: str, text: str
) -> None:
    """So may ``init``, and what comes after it finds the runtime's loop where it was."""
    with served.client as client:
        for _ in range(2):
            assert client.post(route, json={}).text == text


@pytest.mark.parametrize("route", ["/broken", "/wrong"])
def test_a_handler_that_fails_shows_no_traceback(banana: banana_dev.Client, route: str) -> None:
    with pytest.raises(Exception, match="the model's handler failed") as caught:
        banana.call(route, {})
    assert "Traceback" not in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_body_of_bytes_comes_as_it_is(served: LiveRuntime) -> None:
    answer = httpx.post(f"{served.url}/plain", json={}, trust_env=False)
    assert answer.content == b"\x00\xffplain"
    assert answer.headers["Content-Type"] == "application/x-plain"


def test_a_body_from_a_generator_comes_in_pieces(served: LiveRuntime) -> None:
    answer = httpx.post(f"{served.url}/stream", json={"pieces": 3}, trust_env=False)
    assert answer.text == "0,1,2,"
    assert answer.headers["Transfer-Encoding"] == "chunked"
    assert answer.headers["Content-Type"] == "text/plain"


def test_a_generator_that_fails_breaks_its_answer_off_and_frees_its_place(
    served: LiveRuntime,
) -> None:
    """Nobody hangs, and nobody takes a part for the whole."""
    body = {"pieces": 3, "fail_at": 2}
    with pytest.raises(httpx.RemoteProtocolError):
        httpx.post(f"{served.url}/stream", json=body, trust_env=False)
    status = httpx.get(f"{served.url}/_k/status", trust_env=False).json()
    assert status["gpu_available"]
    assert status["inference_time"] == 0


async def test_a_gateway_takes_the_app_too_and_passes_on_its_content_type() -> None:
    """The same worker, by the same socket."""
    async with running("potassium_app.py", handler="/plain") as backend:
        reply = await backend.invoke(call({}))
    assert (reply.body, reply.content_type) == (b"\x00\xffplain", "application/x-plain")
