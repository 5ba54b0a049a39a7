"""What listens at a worker's socket, as a test would have it: bytes to whoever connects."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from local_runtime.protocol.events import Event, Ready, ToWorker
from local_runtime.protocol.wire import FrameReader, decode_to_worker, frame

READY = Ready(
    2, ("/", "/v1/chat/completions"), "cpu", 0.1, 0.2, 0.3, protocol=1, max_frame=1_000_000
)


class PretendedWorker:
    """Says ``first`` to every connection. ``connections`` are those that have not ended."""

    def __init__(self, first: bytes) -> None:
        self.connections: list[asyncio.StreamWriter] = []
        self.came = 0
        self.heard: list[ToWorker] = []
        """What all of them have said."""
        self._first = first

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.came += 1
        self.connections.append(writer)
        writer.write(self._first)
        frames = FrameReader()
        with contextlib.suppress(ConnectionResetError):
            while data := await reader.read(1 << 20):
                self.heard += [decode_to_worker(payload) for payload in frames.feed(data)]
        self.connections.remove(writer)
        writer.close()

    def say(self, event: Event) -> None:
        for writer in self.connections:
            writer.write(frame(event))

    def hang_up(self) -> None:
        for writer in self.connections:
            writer.transport.abort()


@asynccontextmanager
async def listening(path: Path, *said: Event | bytes) -> AsyncIterator[PretendedWorker]:
    """One at that socket, which is gone from the folder afterwards."""
    first = b"".join(one if isinstance(one, bytes) else frame(one) for one in said)
    worker = PretendedWorker(first)
    path.unlink(missing_ok=True)
    server = await asyncio.start_unix_server(worker.serve, path)
    try:
        yield worker
    finally:
        server.close()
        worker.hang_up()
        path.unlink(missing_ok=True)


def in_words_of(value: object) -> bytes:
    """A frame that holds what another version of this project, or another program, may say."""
    payload = msgspec.msgpack.encode(value)
    return len(payload).to_bytes(4, "big") + payload
