"""Every way in which a client can hold a connection, with more of them than there are descriptors:
whoever else calls meanwhile is answered."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from websockets.asyncio.server import ServerConnection, serve

from tests.gateway.realtime.conversations import RATES
from tests.live import LiveGateway
from tests.waiting import wait_until

LIMIT = 120
HELD = 130
LOOKS_EVERY = 26
LIMITED = ["sh", "-c", f'ulimit -n {LIMIT} && exec "$@"', "sh"]
SERVER = {"drain": "1s", "clients": {"write": "6s"}}
LARGE = b'{"choices": [{"text": "%b"}]}' % (b"x" * 1_000_000)
EVENT = b'data: {"choices":[{"index":0,"delta":{"content":"%b"}}]}\n\n' % (b"word " * 4000)
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: %b\r\nconnection: close\r\n"
MODELS = ("quick", "endless", "large", "hang")
WITHIN_S = 10.0
"""Far below the time for which any of these could be held."""


class Backends:
    """One server for all models, and one for conversations, on a thread of their own."""

    def __init__(self) -> None:
        self.plain = self.realtime = 0
        self._loop = asyncio.new_event_loop()
        self._end = asyncio.Event()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Backends:
        self._thread.start()
        assert self._ready.wait(WITHIN_S)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join()

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        plain = await asyncio.start_server(self._answer, "127.0.0.1", 0)
        async with serve(self._talk, "127.0.0.1", 0) as realtime:
            self.plain = plain.sockets[0].getsockname()[1]
            self.realtime = next(iter(realtime.sockets)).getsockname()[1]
            self._ready.set()
            await self._end.wait()
        plain.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            length = head.partition(b"content-length: ")[2].partition(b"\r\n")[0]
            body = await reader.readexactly(int(length or 0))
            if b'"hang"' in body:
                await self._end.wait()
            if b'"endless"' in body:
                writer.write(HEAD % b"text/event-stream" + b"\r\n")
                while not self._end.is_set():
                    writer.write(EVENT)
                    await writer.drain()
            answer = LARGE if b'"large"' in body else b'{"choices": [{"text": ""}]}'
            length = b"content-length: %d\r\n\r\n" % len(answer)
            writer.write(HEAD % b"application/json" + length + answer)
            await writer.drain()
        writer.close()

    async def _talk(self, client: ServerConnection) -> None:
        await client.send('{"type": "session.created", "session": {"id": "s"}}')
        await client.wait_closed()


class House(NamedTuple):
    """A gateway with few descriptors, and who comes there."""

    gateway: LiveGateway
    greedy: str
    """A key."""
    other: str
    job: str
    """Of the first, and never ends."""

    def connected(self, address: str = "127.0.0.1") -> socket.socket:
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        client.settimeout(WITHIN_S)
        client.bind((address, 0))
        client.connect(("127.0.0.1", self.gateway.port))
        return client

    def status(self) -> bytes:
        """What another caller gets on a new connection, within the time that sockets have."""
        with contextlib.closing(self.connected()) as client:
            client.sendall(asked(self.other, "quick"))
            return client.recv(12, socket.MSG_WAITALL)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with Backends() as backends:
        lines = "".join(
            f'  {model}: {{kind: openai, base_url: "http://127.0.0.1:{backends.plain}", '
            f"engine: none, model: {model}}}\n"
            for model in MODELS
        )
        models = "".join(f"  {model}: {{task: chat, backends: [{model}]}}\n" for model in MODELS)
        config = (
            f"backends:\n{lines}  voice: {{kind: openai, engine: none, price: tokens, base_url: "
            f'"http://127.0.0.1:{backends.realtime}", model: up}}\nmodels:\n{models}'
            f"  talk: {{task: realtime, backends: [voice], max_output_tokens: 100}}\n"
            f"prices: {{tokens: {RATES}}}\n"
        )
        folder = tmp_path_factory.mktemp("house")
        gateway = LiveGateway(folder, config, under=LIMITED, server=SERVER)
        with gateway:
            greedy = gateway.create_key("greedy")
            with gateway.client(greedy) as client:
                asks = {"model": "hang", "input": {"messages": MESSAGES}}
                job = client.post("/v1/jobs", json=asks).json()["id"]
            yield House(gateway, greedy, gateway.user_key, job)


MESSAGES = [{"role": "user", "content": "hi"}]


def head(key: str, line: str, *headers: str) -> bytes:
    shown = [f"authorization: Bearer {key}"] if key else []
    return "\r\n".join([f"{line} HTTP/1.1", "host: g", *shown, *headers, "", ""]).encode()


def post(key: str, *headers: str) -> bytes:
    return head(key, "POST /v1/chat/completions", *headers)


def asked(key: str, model: str, *, stream: bool = False) -> bytes:
    body = json.dumps({"model": model, "messages": MESSAGES, "stream": stream}).encode()
    return post(key, f"content-length: {len(body)}") + body


UPGRADE = (
    "connection: Upgrade",
    "upgrade: websocket",
    "sec-websocket-version: 13",
    "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==",
)
HALF = b"POST /v1/chat/completions HTTP/1.1\r\nhost: g\r\n"

Says = Callable[[str, str], bytes]
"""A key and a job -> what is sent."""

OF_ANYBODY: dict[str, Says] = {
    "nothing": lambda key, job: b"",
    "half a head": lambda key, job: HALF,
    "a small body that does not end": lambda key, job: post(key, "content-length: 1000") + b"{",
    "a large body that does not end": lambda key, job: (
        post(key, "content-length: 1000000") + b"x" * 70_000
    ),
    "chunks that do not end": lambda key, job: post(key, "transfer-encoding: chunked") + b"5\r\n{",
    "a body that waits for leave": lambda key, job: post(
        key, "content-length: 1000", "expect: 100-continue"
    ),
    "a body that nobody wants": lambda key, job: (
        post(key, "content-length: 1000000000") + b"x" * 1000
    ),
    "answers that are not read": lambda key, job: (
        asked(key, "large") if key else head("", "GET /openapi.json") * 9
    ),
}
ONCE_ANSWERED: dict[str, Says] = {
    "idle": lambda key, job: b"",
    "half a head after a good call": lambda key, job: HALF,
}
WITH_A_KEY: dict[str, Says] = {
    "a stream that is not read": lambda key, job: asked(key, "endless", stream=True),
    "calls that do not end": lambda key, job: asked(key, "hang"),
    "pipelined calls": lambda key, job: asked(key, "hang") + head(key, "GET /v1/models") * 9,
    "conversations": lambda key, job: head(key, "GET /v1/realtime?model=talk", *UPGRADE),
    "followers of a job": lambda key, job: head(key, f"GET /v1/jobs/{job}/events"),
    "who waits for a job": lambda key, job: head(key, f"GET /v1/jobs/{job}?wait=60s"),
}


def held(
    house: House, says: Says, stack: contextlib.ExitStack, *, key: str, after: bytes
) -> list[bytes]:
    """What another caller gets while the connections are made, and at the end."""
    told = []
    for number in range(HELD):
        address = "127.0.0.1" if key else f"127.0.1.{1 + number}"
        client = stack.enter_context(contextlib.closing(house.connected(address)))
        with contextlib.suppress(OSError):  # it is refused, or has to make way
            if after:
                client.sendall(after)
                client.recv(12, socket.MSG_WAITALL)
            client.sendall(says(key, house.job))
        if number % LOOKS_EVERY == LOOKS_EVERY - 1:
            told.append(house.status())
    return [*told, house.status()]


@pytest.mark.parametrize("way", [*OF_ANYBODY, *ONCE_ANSWERED, *WITH_A_KEY])
def test_one_key_keeps_nobody_else_from_his_answer(way: str, house: House) -> None:
    says = (OF_ANYBODY | ONCE_ANSWERED | WITH_A_KEY)[way]
    after = head(house.greedy, "GET /v1/models") if way in ONCE_ANSWERED else b""
    with contextlib.ExitStack() as stack:
        told = held(house, says, stack, key=house.greedy, after=after)
        assert set(told) == {b"HTTP/1.1 200"}
    recovers(house)


@pytest.mark.parametrize("way", [*OF_ANYBODY, *ONCE_ANSWERED])
def test_many_addresses_without_a_key_keep_nobody_from_his_answer(way: str, house: House) -> None:
    says = (OF_ANYBODY | ONCE_ANSWERED)[way]
    after = head("", "GET /healthz") if way in ONCE_ANSWERED else b""
    with contextlib.ExitStack() as stack:
        told = held(house, says, stack, key="", after=after)
        assert set(told) == {b"HTTP/1.1 200"}
    recovers(house)


def recovers(house: House) -> None:
    """Who was greedy is gone, and may come again."""

    def is_served() -> bool:
        with contextlib.closing(house.connected()) as client:
            client.sendall(asked(house.greedy, "quick"))
            return client.recv(12, socket.MSG_WAITALL) == b"HTTP/1.1 200"

    wait_until(is_served, "his connections are gone")


def test_a_caller_keeps_his_idle_connection_while_another_makes_way(house: House) -> None:
    """Who holds most of what rests goes first."""
    with contextlib.ExitStack() as stack:
        kept = stack.enter_context(contextlib.closing(house.connected()))
        kept.sendall(asked(house.other, "quick"))
        answer = b'{"choices": [{"text": ""}]}'
        while not kept.recv(65536).endswith(answer):
            pass
        after = head(house.greedy, "GET /v1/models")
        held(house, WITH_A_KEY["pipelined calls"], stack, key=house.greedy, after=after)
        kept.sendall(asked(house.other, "quick"))
        assert kept.recv(12, socket.MSG_WAITALL) == b"HTTP/1.1 200"


def test_nothing_of_this_was_anybodys_fault(house: House, tmp_path: Path) -> None:
    assert "Traceback" not in house.gateway.log
