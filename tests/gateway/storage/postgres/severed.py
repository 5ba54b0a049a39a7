"""A wire that can be cut at the moment when nobody knows what has become of a commit."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import msgspec

from gateway.store_urls import Database

_SIZE = 65_536


class SeveredWire:
    """Passes bytes on in both directions. Once told to, it passes on what the client asks, waits
    until the server has answered, and cuts the connection instead of bringing the answer."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._armed = False
        self._tasks: set[asyncio.Task[None]] = set()
        self.cuts = 0

    def cut_next_answer(self) -> None:
        self._armed = True

    async def serve(
        self, client_reader: asyncio.StreamReader, client_writer: asyncio.StreamWriter
    ) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        there = asyncio.create_task(self._pass(client_reader, writer))
        back = asyncio.create_task(self._bring(reader, client_writer))
        try:
            await asyncio.wait((there, back), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (there, back):
                task.cancel()
            await asyncio.wait((there, back))
            for end in (writer, client_writer):
                end.transport.abort()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(_SIZE):
                writer.write(data)
                await writer.drain()

    async def _bring(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(_SIZE):
                if self._armed:
                    self._armed = False
                    self.cuts += 1
                    return
                writer.write(data)
                await writer.drain()


@contextlib.asynccontextmanager
async def severed(database: Database) -> AsyncIterator[tuple[SeveredWire, Database]]:
    """The wire, and the database as it is reached over it."""
    [(_, port)] = database.hosts
    wire = SeveredWire(port)
    server = await asyncio.start_server(wire.serve, "127.0.0.1", 0)
    async with server:
        _, own = server.sockets[0].getsockname()
        yield wire, msgspec.structs.replace(database, hosts=(("127.0.0.1", own),))
        server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        serving = {task for task in others if "SeveredWire.serve" in repr(task)}
        for task in serving:
            task.cancel()
        if serving:
            await asyncio.wait(serving)
