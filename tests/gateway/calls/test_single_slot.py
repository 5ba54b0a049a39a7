"""An engine that runs one call at a time and breaks it off when another begins."""

from __future__ import annotations

import asyncio
import json
from typing import cast

import pytest

from adapters.errors import BackendError, FailureClass
from adapters.openai.backend import OpenAICompatible, OpenAISettings
from adapters.types import Call
from gateway.backends.live import LiveBackend
from gateway.clock import FakeClock, settle
from gateway.policy.reader import read_policy_text
from gateway.shared_timer import SharedTimer
from tests.adapters.openai.engine_servers import PYTHON
from tests.adapters.servers import RawServer, answer, chunked, read_request

POLICY = """
version: 1
backends:
  llama: {kind: openai, base_url: "URL"}
models:
  chat: {task: chat, backends: [llama]}
"""
DELTA = b'data: {"choices":[{"delta":{"content":%b},"finish_reason":null}]}\n\n'
REST = b'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'


class Jealous:
    """llama.cpp's bindings for Python with their defaults: the newcomer interrupts. A stream says
    the seed of its call, and goes on once ``proceed`` is set."""

    def __init__(self) -> None:
        self.proceed = asyncio.Event()
        self.most = 0
        self._running: list[asyncio.StreamWriter] = []

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            request = await read_request(reader)
            if request.method == "POST":
                await self._stream(writer, b"%d" % json.loads(request.body)["seed"])
            elif request.target == "/v1/models":
                writer.write(answer({"data": []}))
            elif request.target == "/openapi.json":
                writer.write(answer(PYTHON))
            else:
                writer.write(answer({"detail": "Not Found"}, 404))

    async def _stream(self, writer: asyncio.StreamWriter, said: bytes) -> None:
        for other in self._running:
            other.transport.abort()
        self._running.append(writer)
        self.most = max(self.most, len(self._running))
        writer.write(chunked(DELTA % said, end=False))
        await self.proceed.wait()
        self._running.remove(writer)
        writer.write(b"%x\r\n%b\r\n0\r\n\r\n" % (len(REST), REST))


def live_backend(clock: FakeClock, url: str) -> tuple[LiveBackend, OpenAICompatible]:
    spec = read_policy_text(POLICY.replace("URL", url), {}).backends["llama"]
    adapter = OpenAICompatible("llama", cast(OpenAISettings, spec.settings), clock)
    return LiveBackend(spec, None, adapter, clock, SharedTimer(clock)), adapter


async def one_stream(backend: LiveBackend, adapter: OpenAICompatible, number: int) -> bytes:
    lease = await backend.lease()
    try:
        call = Call(
            id=f"c{number}", model="m", task="chat", body=b'{"seed": %d}' % number, stream=True
        )
        reply = await adapter.invoke(call)
        assert reply.chunks is not None
        return b"".join([chunk.data async for chunk in reply.chunks])
    finally:
        backend.end(lease, "chat", None, None)


async def test_streams_to_it_run_one_after_another_and_each_is_whole(clock: FakeClock) -> None:
    engine = Jealous()
    async with RawServer(engine.talk).running() as server:
        backend, adapter = live_backend(clock, server.url)
        await adapter.start()
        backend.probed(await adapter.probe())
        streams = [asyncio.ensure_future(one_stream(backend, adapter, n)) for n in range(5)]
        while not engine.most:
            await settle()
        engine.proceed.set()
        assert await asyncio.gather(*streams) == [DELTA % (b"%d" % n) + REST for n in range(5)]
        assert engine.most == 1
        await adapter.aclose()


async def test_without_its_word_for_it_one_of_two_would_break_off(clock: FakeClock) -> None:
    """What the probe saves: the same engine, not asked."""
    engine = Jealous()
    async with RawServer(engine.talk).running() as server:
        backend, adapter = live_backend(clock, server.url)
        await adapter.start()
        first = asyncio.ensure_future(one_stream(backend, adapter, 1))
        while not engine.most:
            await settle()
        second = asyncio.ensure_future(one_stream(backend, adapter, 2))
        with pytest.raises(BackendError) as caught:
            await first
        assert caught.value.failure is FailureClass.TRUNCATED
        second.cancel()
        await asyncio.gather(second, return_exceptions=True)
        await adapter.aclose()
