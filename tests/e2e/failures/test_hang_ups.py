"""Callers that hang up at about the moment of their answer, beside callers that pay: none of these
ever waits in vain, and nothing of those is left."""

from __future__ import annotations

import asyncio
import collections
import os
import random
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from tests.e2e.observing import metric
from tests.e2e.servers.faulty import FaultyServer, well
from tests.e2e.test_money import nothing_is_open
from tests.live import LiveGateway
from tests.programs.faults.speech import Asked
from tests.waiting import until

PAID_CALLS = 20_000 if os.environ.get("SPILLGATE_SOAK") == "long" else 600
CALLERS = 60
ANSWER_S = 0.1
PATIENCE_S = 20.0
KEPT = 16
"""Descriptors of kept connections, to the server and from those who look."""
GROWTH = 24 * 1024 * 1024
"""Bytes that the second half of the calls may add: caches are full by then, or bounded."""

CONFIG = """
backends:
  server: {{kind: openai, base_url: "{url}", engine: none, price: tokens, concurrency: 140}}
models:
  chat: {{task: chat, backends: [server]}}
prices:
  tokens: {{per_million_input: 1, per_million_output: 1, as_of: 2026-11-01, source: test}}
plans:
  default: {{requests: 1000000/minute, concurrent: 160, spend: 1000 USD/month}}
"""
"""A hundred places that leak, of a slot or of the plan, would stop those who pay."""
BODY = msgspec.json.encode({"model": "chat", "messages": [{"role": "user", "content": "hi"}]})


async def in_a_moment(asked: Asked, writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(ANSWER_S)
    await well(asked, writer)


class Connection:
    """One kept connection of a caller."""

    def __init__(self, port: int, key: str) -> None:
        self._port = port
        head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n"
        self._request = head.encode() + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self) -> int:
        """The status of one whole answer."""
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port)
        reader, writer = self._streams
        writer.write(self._request)
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        await reader.readexactly(int(head.split(b"content-length:")[1].split(b"\r\n")[0]))
        return int(head.split()[1])

    def hang_up(self) -> None:
        if self._streams is not None:
            self._streams[1].transport.abort()
            self._streams = None


class Load:
    """Those who hang up and those who pay, until so many calls were paid for."""

    def __init__(self, gateway: LiveGateway, key: str, other_key: str) -> None:
        self._gateway = gateway
        self._keys = key, other_key
        self.ended: collections.Counter[int | str] = collections.Counter()
        self.left = 0

    async def run(self, calls: int) -> None:
        turns = iter(range(calls))
        payers = [asyncio.create_task(self._pay(turns)) for _ in range(CALLERS)]
        leavers = [asyncio.create_task(self._leave(number)) for number in range(CALLERS)]
        await asyncio.gather(*payers)
        for task in leavers:
            task.cancel()
        await asyncio.gather(*leavers, return_exceptions=True)

    async def _pay(self, turns: Iterator[int]) -> None:
        connection = Connection(self._gateway.port, self._keys[0])
        for _ in turns:
            self.ended[await self._paid(connection)] += 1
        connection.hang_up()

    async def _paid(self, connection: Connection) -> int | str:
        try:
            async with asyncio.timeout(PATIENCE_S):
                return await connection.ask()
        except TimeoutError:
            connection.hang_up()
            return "hung"

    async def _leave(self, number: int) -> None:
        dice = random.Random(f"hang-ups {number}")
        connection = Connection(self._gateway.port, self._keys[1])
        while True:
            try:
                async with asyncio.timeout(ANSWER_S * dice.uniform(0.95, 1.45)):
                    await connection.ask()
            except TimeoutError:
                self.left += 1
            finally:
                connection.hang_up()


def resident(pid: int) -> int:
    """Bytes of memory that a process holds."""
    pages = Path(f"/proc/{pid}/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.soak
def test_no_paying_call_hangs_beside_hang_ups_and_nothing_of_them_is_left(tmp_path: Path) -> None:
    """Each call has its own patience; the whole may take as long as it takes."""
    asyncio.run(keep_hanging_up(tmp_path))


async def keep_hanging_up(folder: Path) -> None:
    async with FaultyServer(in_a_moment) as server:
        config = CONFIG.format(url=server.url)
        with LiveGateway(folder, config, server={"access_log": False}) as gateway:
            load = Load(gateway, gateway.user_key, gateway.create_key("leaver"))
            held = await asyncio.to_thread(descriptors, gateway)
            await load.run(PAID_CALLS // 2)
            memory = resident(gateway.pid)
            await load.run(PAID_CALLS // 2)
            await until(lambda: asyncio.to_thread(nothing_is_open, gateway), "all is settled")
            assert load.ended == {200: PAID_CALLS}
            assert load.left > PAID_CALLS / 10
            await until(lambda: has_let_go(gateway, held), "no descriptor is left open")
            grown = resident(gateway.pid) - memory
            assert grown < GROWTH
            print(f"{PAID_CALLS} paid, {load.left} left, {grown} bytes more")


def descriptors(gateway: LiveGateway) -> float:
    return metric(gateway, "spillgate_descriptors")


async def has_let_go(gateway: LiveGateway, held: float) -> bool:
    return await asyncio.to_thread(descriptors, gateway) <= held + KEPT
