"""A client, started and closed."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from adapters.http.client import Client, Origin, render_head
from gateway.clock import FakeClock


@contextlib.asynccontextmanager
async def client_of(
    url: str, clock: FakeClock, *, max_connections: int = 8, stall_timeout: float = 1e9
) -> AsyncIterator[tuple[Client, bytes]]:
    """A started client, and the head of a POST to /x."""
    origin = Origin(url)
    client = Client(
        origin,
        clock,
        max_connections=max_connections,
        stall_timeout=stall_timeout,
        max_response=100_000,
    )
    client.start()
    try:
        yield client, render_head("POST", origin, "/x")
    finally:
        await client.aclose()
