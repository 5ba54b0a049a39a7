"""One gateway as a user runs it, but for its sockets, and calls through it one after another."""

from __future__ import annotations

import asyncio
import io
from pathlib import Path

from benchmarks.gateway.contenders.spillgate import CONFIG, LIMITS, PASSED
from benchmarks.gateway.processes import HOST
from benchmarks.gateway.target import MODEL, Target, completion
from benchmarks.guard.counting import Counting
from benchmarks.guard.memory import MemoryLoop, SlowClock, connect
from gateway.api_keys import generate_key
from gateway.app import from_path, running, web
from gateway.log_lines import LineWriter
from gateway.types import Principal
from local_runtime.http.protocol import HttpProtocol
from local_runtime.http.server_state import ServerState

_PORT = 8000
_SETTLES_S = 0.001
"""After a call, by the slow clock: the ledger has its row, and the answer to that has come."""


class Upstream(asyncio.Protocol):
    """Answers every request with the same completion."""

    def __init__(self) -> None:
        body = completion()
        head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
        self._answer = head % len(body) + body

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._transport.write(self._answer)


class Client(asyncio.Protocol):
    """Asks, and waits for the whole answer."""

    def __init__(self, request: bytes) -> None:
        self._request = request
        self._said = b""
        self._whole: asyncio.Future[None]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._said += data
        if self._said.endswith(b"}"):
            self._whole.set_result(None)

    async def ask(self) -> bytes:
        """The answer's first line."""
        self._said = b""
        self._whole = asyncio.get_running_loop().create_future()
        self._transport.write(self._request)
        await self._whole
        return self._said.partition(b"\r\n")[0]


async def count(folder: Path, counting: Counting, calls: int) -> None:
    """Counts each of so many calls that are passed on to an OpenAI server. Raises RuntimeError
    where one is not answered."""
    config = _configure(folder)
    lines = LineWriter(io.BytesIO())
    gateway = from_path(config, lines, clock=SlowClock())
    key = generate_key()
    gateway.keys.create(Principal(key_id="k", user="bench", plan="bench"), key, expires_at=None)
    target = Target(url=f"http://{HOST}:{_PORT}", key=key)
    loop = asyncio.get_running_loop()
    try:
        async with running(gateway):
            client = Client(target.request())
            connect(loop, client, HttpProtocol(web(gateway), ServerState(), {}))
            for _ in range(calls):
                with counting.one():
                    said = await client.ask()
                    await asyncio.sleep(_SETTLES_S)
                if said != b"HTTP/1.1 200 OK":
                    raise RuntimeError(f"a call was answered with {said!r}")
    finally:
        lines.close()


def _configure(folder: Path) -> Path:
    (folder / "data").mkdir()
    config = folder / "spillgate.yaml"
    backend = PASSED.format(upstream=f"http://{HOST}:{_PORT + 1}")
    text = CONFIG.format(
        host=HOST, port=_PORT, tls="off", folder=folder, backend=backend, model=MODEL, limits=LIMITS
    )
    config.write_text(text)
    return config


def run(folder: Path, counting: Counting, calls: int) -> None:
    """As ``count`` says, on a loop of its own."""
    loop = MemoryLoop()
    loop.serves = Upstream
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(count(folder, counting, calls))
