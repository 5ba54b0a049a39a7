"""The short way of a plain call: the same answers as by the long one, over real sockets."""

from __future__ import annotations

import gzip
import http.client
import json
import socket
from collections.abc import Iterator

import httpx
import pytest

from local_runtime.server.fast_path import MAX_BODY
from tests.local_runtime.server.live_runtime import LiveRuntime
from tests.waiting import wait_until

POST = b"POST %b HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n%b\r\n%b"


@pytest.fixture(scope="module")
def live() -> Iterator[LiveRuntime]:
    with LiveRuntime("answers.py") as live:
        yield live


@pytest.fixture
def caller(live: LiveRuntime) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", live.port), timeout=20) as caller:
        yield caller


def post(path: bytes, body: bytes, headers: bytes = b"") -> bytes:
    return POST % (path, len(body), headers, body)


def answer(caller: socket.socket) -> tuple[http.client.HTTPResponse, bytes]:
    """The next answer on the connection, which must hold no more than that."""
    response = http.client.HTTPResponse(caller)
    response.begin()
    return response, response.read()


def test_a_connection_carries_one_call_after_another(caller: socket.socket) -> None:
    for number in (b"1", b"2", b"3"):
        caller.sendall(post(b"/", number))
        response, body = answer(caller)
        assert (response.status, body) == (200, b'{"json":%b,"agent":null}' % number)


def test_a_body_may_come_in_pieces(caller: socket.socket) -> None:
    caller.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for piece in (b"POST / HTTP/1.1\r\nHost: x\r\nContent-", b"Length: 5\r\n\r\n[1", b",2", b"]"):
        caller.sendall(piece)
    assert b'"json":[1,2]' in answer(caller)[1]


def test_pipelined_requests_are_answered_in_their_order(live: LiveRuntime) -> None:
    """Plain calls, a page and an answer in pieces, sent in one write on one connection."""
    asked = (
        post(b"/", b"1")
        + b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
        + post(b"/pieces", b"2")
        + post(b"/", b"3", b"Connection: close\r\n")
    )
    with socket.create_connection(("127.0.0.1", live.port), timeout=20) as caller:
        caller.sendall(asked)
        with caller.makefile("rb") as lines:
            text = lines.read()
    places = [text.index(part) for part in (b'"json":1', b'"ok"', b"piece 1", b'"json":3')]
    assert places == sorted(places)
    assert text.count(b"HTTP/1.1 200 OK") == 4


@pytest.mark.parametrize(("path", "body"), [("/", b"1"), ("/", b"{"), ("/chosen", b"1")])
def test_the_short_way_and_the_long_one_answer_alike(
    live: LiveRuntime, path: str, body: bytes
) -> None:
    """A body of unknown length takes the long one."""
    headers = {"X-Request-Id": "same"}
    with live.client as client:
        short = client.post(path, content=body, headers=headers)
        long = client.post(path, content=iter([body]), headers=headers)
    assert (short.status_code, short.content) == (long.status_code, long.content)
    assert {**short.headers, "date": ""} == {**long.headers, "date": ""}


def test_a_handler_chooses_its_headers_but_forges_none(live: LiveRuntime) -> None:
    with live.client as client:
        chosen = client.post("/chosen", json=1, headers={"X-Request-Id": "mine"})
    assert (chosen.status_code, chosen.json()) == (201, {"made": True})
    assert (chosen.headers["X-Mine"], chosen.headers["X-Request-Id"]) == ("1", "mine")
    assert "X-Bad" not in chosen.headers


def test_a_callers_headers_reach_the_handler(caller: socket.socket) -> None:
    caller.sendall(post(b"/?any=query", b"1", b"User-Agent: tester\r\n"))
    assert b'"agent":"tester"' in answer(caller)[1]


@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
def test_a_caller_who_wants_its_connection_closed_has_it_closed(
    caller: socket.socket, version: bytes
) -> None:
    asked = post(b"/", b"1", b"Connection: close\r\n").replace(b"HTTP/1.1", b"HTTP/" + version)
    caller.sendall(asked)
    response, body = answer(caller)
    assert (response.getheader("connection"), body[:9]) == ("close", b'{"json":1')
    assert caller.recv(1) == b""


def test_an_answer_in_pieces_arrives_whole_and_the_connection_lives_on(
    caller: socket.socket,
) -> None:
    caller.sendall(post(b"/pieces", b"2"))
    response, body = answer(caller)
    assert (response.getheader("content-type"), body) == ("text/plain", b"piece 0\npiece 1\n")
    caller.sendall(post(b"/", b"4"))
    assert b'"json":4' in answer(caller)[1]


def test_an_answer_in_pieces_that_fails_is_broken_off(caller: socket.socket) -> None:
    caller.sendall(post(b"/pieces", b"101"))
    with pytest.raises(http.client.IncompleteRead):
        answer(caller)


def test_a_caller_who_waits_for_leave_to_send_its_body_gets_it(caller: socket.socket) -> None:
    head, _, body = post(b"/", b"7", b"Expect: 100-continue\r\n").partition(b"\r\n\r\n")
    caller.sendall(head + b"\r\n\r\n")
    assert caller.recv(4096) == b"HTTP/1.1 100 Continue\r\n\r\n"
    caller.sendall(body)
    assert b'"json":7' in answer(caller)[1]


def test_a_body_that_is_too_large_for_the_short_way_takes_the_long_one(live: LiveRuntime) -> None:
    text = "x" * (MAX_BODY + 1)
    with live.client as client:
        assert client.post("/", json=text).json()["json"] == text


def test_the_status_forgets_a_call_whose_caller_hangs_up(live: LiveRuntime) -> None:
    with live.client as client:
        before = client.get("/_k/status").json()["sequence_number"]
        with socket.create_connection(("127.0.0.1", live.port), timeout=20) as caller:
            caller.sendall(post(b"/", b"1"))
        wait_until(lambda: client.get("/_k/status").json()["sequence_number"] == before + 1)
        wait_until(lambda: client.get("/_k/status").json()["inference_time"] == 0)


def test_a_path_that_is_no_route_of_the_app_is_refused(live: LiveRuntime) -> None:
    assert httpx.post(f"{live.url}/none", json=1, trust_env=False).status_code == 404


@pytest.mark.parametrize(
    ("sent", "status"),
    [(b"BREW /tea HTTP/1.1\r\n\r\n", 400), (b"POST / HTTP/1.1\r\nx: " + b"a" * 70_000, 431)],
    ids=["no HTTP", "an endless head"],
)
def test_what_is_no_request_is_refused_in_the_shape_of_every_other_error(
    caller: socket.socket, sent: bytes, status: int
) -> None:
    caller.sendall(sent)
    response, body = answer(caller)
    assert response.status == status
    assert set(json.loads(body)["error"]) == {"message", "type", "code", "param"}
    assert caller.recv(1) == b""


def test_a_caller_who_would_rather_speak_http_2_is_answered_all_the_same(
    caller: socket.socket,
) -> None:
    """Java's own client asks for it with its first request on every plain connection."""
    caller.sendall(post(b"/", b"7", b"Connection: Upgrade\r\nUpgrade: h2c\r\n"))
    response, body = answer(caller)
    assert (response.status, body) == (200, b'{"json":7,"agent":null}')


def test_each_call_without_an_id_gets_one_of_its_own(caller: socket.socket) -> None:
    given = set()
    for _ in range(300):
        caller.sendall(post(b"/", b"1"))
        given.add(answer(caller)[0].getheader("X-Request-Id"))
    assert len(given) == 300


def test_a_body_in_a_coding_reaches_the_handler_plain(live: LiveRuntime) -> None:
    with live.client as client:
        headers = {"content-encoding": "gzip"}
        assert client.post("/", content=gzip.compress(b"[1]"), headers=headers).json()["json"] == [
            1
        ]
        cut = client.post("/", content=gzip.compress(b"[1]")[:-9], headers=headers)
        assert (cut.status_code, cut.json()["error"]["code"]) == (400, "invalid")
        unknown = client.post("/", content=b"[1]", headers={"content-encoding": "br"})
        assert (unknown.status_code, unknown.headers["accept-encoding"]) == (415, "gzip, deflate")
        assert "'br'" in unknown.json()["error"]["message"]
