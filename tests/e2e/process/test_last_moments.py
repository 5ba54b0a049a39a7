"""SIGTERM in each moment of a connection's life: its client has an answer or a clean end, and the
gateway ends within its drain, whoever is still there."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

import pytest

from tests.live import LiveGateway
from tests.waiting import wait_until

WITHIN_S = 20.0
"""Far above the drain."""
MODELS = ("soon", "never", "endless")
ANSWER = b'{"choices": [{"text": ""}], "usage": {"prompt_tokens": 1, "completion_tokens": 1}}'
PIECE = b'data: {"choices":[{"index":0,"delta":{"content":"word"}}]}\n\n'


class Backend(ThreadingHTTPServer):
    """``soon`` answers once the gateway was told to end."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answers)
        self.told, self.over = threading.Event(), threading.Event()
        self.asked = 0


class _Answers(BaseHTTPRequestHandler):
    server: Backend

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.asked += 1
        with contextlib.suppress(OSError):
            if b'"endless"' in body:
                self._begin("text/event-stream")
                self.wfile.write(PIECE)
                self.server.over.wait(WITHIN_S)
                return
            (self.server.over if b'"never"' in body else self.server.told).wait(WITHIN_S)
            self._begin("application/json")
            self.wfile.write(ANSWER)

    def _begin(self, kind: str) -> None:
        self.send_response(200)
        self.send_header("content-type", kind)
        self.end_headers()


def head(key: str, line: str, *headers: str) -> bytes:
    shown = f"authorization: Bearer {key}"
    return "\r\n".join([f"{line} HTTP/1.1", "host: g", shown, *headers, "", ""]).encode()


def post(key: str, *headers: str) -> bytes:
    return head(key, "POST /v1/completions", *headers)


def asked(key: str, model: str, *, stream: bool = False) -> bytes:
    body = json.dumps({"model": model, "prompt": "hi", "stream": stream}).encode()
    return post(key, f"content-length: {len(body)}") + body


def listed(key: str) -> bytes:
    return head(key, "GET /v1/models")


class Moment(NamedTuple):
    """What was sent when the signal comes, and the statuses that its client has in the end."""

    sent: Callable[[str], bytes]
    statuses: tuple[int, ...]
    ends_with: bytes = b""


CUT = b'"shutting_down"'
MOMENTS = {
    "connected": Moment(lambda key: b"", ()),
    "idle": Moment(listed, (200,)),
    "half a head": Moment(lambda key: listed(key)[:20], ()),
    "half a head behind an answer": Moment(lambda key: listed(key) + listed(key)[:20], (200,)),
    "half a small body": Moment(lambda key: post(key, "content-length: 99") + b"{", (503,), CUT),
    "half a large body": Moment(
        lambda key: post(key, "content-length: 90000") + b"x" * 70_000, (503,), CUT
    ),
    "half a body in chunks": Moment(
        lambda key: post(key, "transfer-encoding: chunked") + b"5\r\n{", (503,), CUT
    ),
    "a body with its leave to come": Moment(
        lambda key: post(key, "content-length: 99", "expect: 100-continue"), (100, 503), CUT
    ),
    "a call that ends in time": Moment(lambda key: asked(key, "soon"), (200,)),
    "a call that does not": Moment(lambda key: asked(key, "never"), (503,), CUT),
    "a stream": Moment(lambda key: asked(key, "endless", stream=True), (200,), CUT),
    "refused while it sends": Moment(
        lambda key: post(key, "content-length: 900000") + b"x" * 200_000, (413,)
    ),
    "answered while it sends": Moment(
        lambda key: post("sg-none", "content-length: 99") + b"{", (401,)
    ),
    "several calls": Moment(
        lambda key: asked(key, "soon") + listed(key) + asked(key, "soon"), (200, 200, 200)
    ),
    "a call behind one that does not end": Moment(
        lambda key: asked(key, "never") + listed(key), (503,), CUT
    ),
    "half a head behind a call": Moment(lambda key: asked(key, "soon") + listed(key)[:20], (200,)),
}
REACH_BACKEND = 6
"""Calls of these that are at the backend when the signal comes."""


class Client:
    """A connection that reads until it ends."""

    def __init__(self, peer: socket.socket) -> None:
        self.said = b""
        self.ended = ""
        self._peer = peer
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        try:
            while part := self._peer.recv(65536):
                self.said += part
            self.ended = "cleanly"
        except OSError as error:
            self.ended = repr(error)

    def result(self) -> tuple[tuple[int, ...], str]:
        self._thread.join(WITHIN_S)
        answers = self.said.split(b"HTTP/1.1 ")[1:]
        return tuple(int(answer[:3]) for answer in answers), self.ended


class Ended(NamedTuple):
    """What became of a gateway and its clients."""

    clients: dict[str, Client]
    status: int
    log: str


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "tls"])
def ended(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Ended]:
    folder = tmp_path_factory.mktemp("ends")
    with contextlib.ExitStack() as stack:
        backend = stack.enter_context(Backend())
        threading.Thread(target=backend.serve_forever, daemon=True).start()
        stack.callback(backend.shutdown)
        stack.callback(backend.over.set)
        gateway = LiveGateway(
            folder,
            config_of(backend.server_port),
            tls=request.param,
            server={"drain": "1s", "max_body": "100 KB"},
        )
        stack.enter_context(gateway)
        clients = {}
        for name, moment in MOMENTS.items():
            peer = stack.enter_context(contextlib.closing(connected(gateway)))
            peer.sendall(moment.sent(gateway.user_key))
            clients[name] = Client(peer)
        for mute in range(2):  # who never says a word, and who has begun to agree on TLS
            peer = socket.create_connection(("127.0.0.1", gateway.port), timeout=WITHIN_S)
            stack.callback(peer.close)
            peer.sendall(b"\x16\x03\x01\x02"[: 4 * mute])
        wait_until(lambda: backend.asked >= REACH_BACKEND, "all calls are at the backend")
        wait_until(lambda: b"401" in clients["answered while it sends"].said, "it has come")
        wait_until(lambda: PIECE in clients["a stream"].said, "the stream has begun")
        threading.Timer(0.2, backend.told.set).start()
        status = gateway.stop(within_s=WITHIN_S)
        yield Ended(clients, status, gateway.log)


def config_of(port: int) -> str:
    backends = "".join(
        f'  {model}: {{kind: openai, base_url: "http://127.0.0.1:{port}", engine: none, '
        f"model: {model}, timeout: 60s}}\n"
        for model in MODELS
    )
    models = "".join(f"  {model}: {{task: completions, backends: [{model}]}}\n" for model in MODELS)
    return f"backends:\n{backends}models:\n{models}"


def connected(gateway: LiveGateway) -> socket.socket:
    peer = socket.create_connection(("127.0.0.1", gateway.port), timeout=WITHIN_S)
    if not gateway.tls:
        return peer
    context = ssl.create_default_context(cafile=str(gateway.ca))
    return context.wrap_socket(peer, server_hostname="127.0.0.1", suppress_ragged_eofs=False)


@pytest.mark.parametrize("moment", MOMENTS)
def test_whoever_is_there_at_the_end_has_an_answer_or_a_clean_end(
    moment: str, ended: Ended
) -> None:
    client = ended.clients[moment]
    assert client.result() == (MOMENTS[moment].statuses, "cleanly")
    assert MOMENTS[moment].ends_with in client.said


def test_the_gateway_has_ended_and_nothing_failed(ended: Ended) -> None:
    assert ended.status == 0
    assert "Traceback" not in ended.log
