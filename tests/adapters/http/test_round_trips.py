"""How far away a host is, by the small requests to it."""

from __future__ import annotations

import asyncio

from adapters.http.client import Client, Origin, render_head
from adapters.round_trips import KEPT, RoundTrips
from gateway.clock import FakeClock
from tests.adapters.servers import RawServer, answer, read_request


async def test_the_time_to_the_first_byte_of_an_answer_without_a_body_is_the_way(
    clock: FakeClock,
) -> None:
    """Not that of a call, which runs a model, nor the connection, nor the rest of the answer."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            request = await read_request(reader)
            await clock.advance(0.08 if request.method == "GET" else 3.0)
            whole = answer(b"ok")
            writer.write(whole[:5])
            await writer.drain()
            writer.write(whole[5:])

    async with RawServer(talk).running() as server:
        origin = Origin(server.url)
        client = Client(origin, clock)
        client.start()
        assert client.round_trips.least is None
        await client.request(render_head("POST", origin, "/"), b"{}")
        assert client.round_trips.least is None
        await client.request(render_head("GET", origin, "/health"))
        await client.aclose()
    assert client.round_trips.least is not None
    assert round(client.round_trips.least, 3) == 0.08


def test_the_least_of_the_last_ones_counts() -> None:
    """A slow answer is no longer way; a way that stays longer is, after a while."""
    trips = RoundTrips()
    for seconds in (0.2, 0.05, 0.9):
        trips.observe(seconds)
    assert trips.least == 0.05
    for _ in range(KEPT - 1):
        trips.observe(0.3)
    assert trips.least == 0.3
