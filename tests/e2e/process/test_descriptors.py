"""Descriptors that run out are the gateway's own matter: it refuses in time, and blames nobody."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import ssl
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.observing import error_of, metric
from tests.live import LiveGateway
from tests.waiting import until

SOFT, HARD = 100, 200
LIMITED = ["sh", "-c", f'ulimit -Sn {SOFT} && ulimit -Hn {HARD} && exec "$@"', "sh"]
TOGETHER = 150
BODY = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}


class Slow:
    """A healthy backend that answers once its gate is open."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.asked = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            if head.startswith(b"POST"):
                self.asked += 1
                await self.gate.wait()
            used = b'{"prompt_tokens": 1, "completion_tokens": 1}'
            body = b'{"choices": [{"text": ""}], "usage": %b}' % used
            length = f"content-length: {len(body)}\r\n\r\n".encode()
            head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n"
            writer.write(head + length + body)
            await writer.drain()
        writer.close()


@contextlib.asynccontextmanager
async def slow_backend() -> AsyncIterator[tuple[Slow, int]]:
    slow = Slow()
    server = await asyncio.start_server(slow.serve, "127.0.0.1", 0, limit=1 << 20)
    async with server:
        yield slow, server.sockets[0].getsockname()[1]


def config_of(port: int) -> str:
    return (
        f'backends: {{b: {{kind: openai, base_url: "http://127.0.0.1:{port}", engine: none, '
        "max_connections: 1000}}\n"
        "models: {m: {task: chat, backends: [b]}}\n"
    )


def trust(gateway: LiveGateway) -> ssl.SSLContext | bool:
    return ssl.create_default_context(cafile=gateway.ca) if gateway.tls else False


async def call(gateway: LiveGateway, limits: httpx.Limits) -> httpx.Response:
    async with httpx.AsyncClient(
        base_url=gateway.url,
        headers={"authorization": f"Bearer {gateway.user_key}"},
        timeout=60,
        trust_env=False,
        limits=limits,
        verify=trust(gateway),
    ) as client:
        return await client.post("/v1/chat/completions", json=BODY)


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
async def test_more_calls_than_descriptors_are_refused_as_the_gateways_own_lack(
    tmp_path: Path, tls: bool
) -> None:
    """Those that were taken are answered, and each health check on a connection of its own from
    the first moment on; no backend is blamed."""
    async with slow_backend() as (slow, port):
        gateway = LiveGateway(tmp_path, config_of(port), under=LIMITED, tls=tls)
        await asyncio.to_thread(gateway.start)
        try:
            assert gateway.user_key
            assert metric(gateway, "spillgate_descriptor_limit") == HARD
            limits = httpx.Limits(max_connections=None)
            calls = [asyncio.create_task(call(gateway, limits)) for _ in range(TOGETHER)]
            health: Counter[int | None] = Counter()

            async def have_arrived() -> bool:
                for path in ("/healthz", "/readyz"):
                    health[await asyncio.to_thread(gateway.status_of, path)] += 1
                return sum(call.done() for call in calls) + slow.asked >= TOGETHER

            await until(have_arrived, "all have arrived")
            assert set(health) == {200}, health
            assert slow.asked > 5
            slow.gate.set()
            answers = await asyncio.gather(*calls)
            seen = Counter(answer.status_code for answer in answers)
            assert set(seen) == {200, 503}, seen
            for answer in answers:
                if answer.status_code == 503:
                    assert error_of(answer) == (503, "overloaded")
                    assert answer.headers["retry-after"] == "1"
            assert unblamed(gateway)
            assert (await call(gateway, limits)).status_code == 200
        finally:
            assert await asyncio.to_thread(gateway.stop) == 0


HALF_A_HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\n"


@pytest.mark.parametrize(
    ("tls", "said"),
    [(False, b""), (False, HALF_A_HEAD), (True, b""), (True, b"\x16\x03\x01")],
    ids=["silent", "half a head", "silent before TLS", "half a handshake"],
)
async def test_connections_that_never_ask_keep_nobody_from_his_answer(
    tmp_path: Path, tls: bool, said: bytes
) -> None:
    """More of them than there are descriptors: the oldest makes way for the newest."""
    async with slow_backend() as (slow, port):
        slow.gate.set()
        gateway = LiveGateway(tmp_path, config_of(port), under=LIMITED, tls=tls)
        await asyncio.to_thread(gateway.start)
        assert gateway.user_key
        held: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        try:
            for number in range(3 * HARD):
                reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
                writer.write(said)
                held.append((reader, writer))
                if number % 50 == 49:
                    for path in ("/healthz", "/readyz"):
                        assert await asyncio.to_thread(gateway.status_of, path) == 200
                    assert (await call(gateway, httpx.Limits())).status_code == 200
        finally:
            for _, writer in held:
                writer.close()
            assert await asyncio.to_thread(gateway.stop) == 0


def unblamed(gateway: LiveGateway) -> bool:
    with gateway.client(gateway.admin_key) as client:
        row: dict[str, Any] = client.get("/admin/backends").json()["backends"][0]
    failures = metric(gateway, "spillgate_backend_failures_total")
    return (row["failures_in_a_row"], row["blocked"], failures) == (0, None, 0.0)


async def what_it_was_told(reader: asyncio.StreamReader) -> bytes | None:
    """By a connection's end; None while it lasts."""
    try:
        async with asyncio.timeout(0.01):
            return await reader.read()
    except TimeoutError:
        return None


async def test_idle_connections_without_a_call_make_room_for_one(tmp_path: Path) -> None:
    """From the first on; the longest idle go first; nobody needs a key to hold one open."""
    async with slow_backend() as (slow, port):
        slow.gate.set()
        patient = {"clients": {"first_head": "10m"}}
        gateway = LiveGateway(tmp_path, config_of(port), under=LIMITED, server=patient)
        await asyncio.to_thread(gateway.start)
        idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        try:
            assert gateway.user_key
            for _ in range(2 * HARD):
                idle.append(await asyncio.open_connection("127.0.0.1", gateway.port))

            for _ in range(20):
                assert (await call(gateway, httpx.Limits())).status_code == 200
            told = [await what_it_was_told(reader) for reader, _ in idle]
            assert sum(word is not None for word in told) >= HARD
            assert {word.partition(b"\r\n")[0] for word in told if word is not None} == {
                b"HTTP/1.1 503 Service Unavailable"
            }
            assert told[0] is not None
            assert told[-1] is None
        finally:
            for _, writer in idle:
                writer.close()
            assert await asyncio.to_thread(gateway.stop) == 0


async def test_workers_of_an_app_have_the_limit_that_the_gateway_was_started_with(
    tmp_path: Path,
) -> None:
    """A program that uses select cannot see a descriptor above 1,023."""
    config = """
backends:
  home: {kind: local, app: tests/programs/echo.py:app, handler: /sleep, required: true}
models:
  sleep: {task: infer, backends: [home]}
"""
    gateway = LiveGateway(tmp_path, config, under=LIMITED)
    await asyncio.to_thread(gateway.start)
    try:
        assert resource.prlimit(gateway.pid, resource.RLIMIT_NOFILE) == (HARD, HARD)
        below = [
            int(child)
            for task in Path(f"/proc/{gateway.pid}/task").iterdir()
            for child in (task / "children").read_text().split()
        ]
        assert below
        for pid in below:
            assert resource.prlimit(pid, resource.RLIMIT_NOFILE) == (SOFT, HARD)
    finally:
        assert await asyncio.to_thread(gateway.stop) == 0
