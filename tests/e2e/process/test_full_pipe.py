"""A reader of the log that pauses holds up nobody."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live import LiveGateway, free_port

CALLS = 200
CONFIG = f"""
backends:
  gone: {{kind: openai, base_url: "http://127.0.0.1:{free_port()}"}}
models:
  chat: {{task: chat, backends: [gone]}}
plans:
  none: {{requests: 1/month}}
"""


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """Both ends of a pipe that is full."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(writer, b"full" * 16)
    os.set_blocking(writer, True)
    yield reader, writer
    for end in (reader, writer):
        with contextlib.suppress(OSError):
            os.close(end)


async def fail_many(gateway: LiveGateway) -> list[int]:
    """Calls that fail at the backend, calls that are refused, and some that nobody understands."""
    async with gateway.async_client() as client:

        async def call(number: int) -> int:
            model = "chat" if number % 2 else "nowhere"
            body = {"model": model, "messages": [{"role": "user", "content": "hi"}]}
            return (await client.post("/v1/chat/completions", json=body)).status_code

        return await asyncio.gather(*(call(number) for number in range(CALLS)))


async def test_behind_a_full_pipe_calls_are_answered_and_sigterm_ends_it(
    tmp_path: Path, pipe: tuple[int, int]
) -> None:
    gateway = LiveGateway(tmp_path, CONFIG, stderr=pipe[1])
    gateway.start(wait_for="/healthz")
    try:
        assert gateway.user_key
        statuses = await fail_many(gateway)
        assert set(statuses) <= {404, 502, 503}
        assert gateway.status_of("/healthz") == 200
    finally:
        assert await asyncio.to_thread(gateway.stop) == 0


async def test_what_waited_is_written_once_somebody_reads_and_no_line_is_torn(
    tmp_path: Path, pipe: tuple[int, int]
) -> None:
    reader, writer = pipe
    gateway = LiveGateway(tmp_path, CONFIG, stderr=writer)
    gateway.start(wait_for="/healthz")
    os.close(writer)
    assert gateway.user_key
    await fail_many(gateway)
    read = bytearray()

    def drain() -> None:
        while data := os.read(reader, 65536):
            read.extend(data)

    thread = threading.Thread(target=drain)
    thread.start()
    assert await asyncio.to_thread(gateway.stop) == 0
    thread.join()
    lines = bytes(read).decode().lstrip("ful").splitlines()
    assert sum(" WARNING spillgate: call req_" in line for line in lines) > 0
    assert sum(line.startswith('{"at":') for line in lines) > 0
    assert all(re.match(r"\{|[\dT:.-]+Z (INFO|WARNING) ", line) for line in lines)
