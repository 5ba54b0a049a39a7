"""``/metrics`` at an address of its own, in plain HTTP: for scrapers that have no key, in a network
that others cannot reach."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from functools import partial

from starlette.types import Receive, Scope, Send

from gateway.api.probes import TEXT, scraped
from gateway.service import Gateway
from local_runtime.http.protocol import HttpProtocol
from local_runtime.http.server_state import ServerState


class _Scrapes:
    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        status, body = 404, b"There is nothing here but GET /metrics.\n"
        if scope["path"] == "/metrics" and scope["method"] in ("GET", "HEAD"):
            status, body = 200, await scraped(self._gateway)
        headers = [TEXT, (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})


@contextlib.asynccontextmanager
async def scrape_port(gateway: Gateway, address: tuple[str, int]) -> AsyncIterator[None]:
    """Listens meanwhile; every process that serves does so at the same address. Raises OSError."""
    host, port = address
    server = await asyncio.get_running_loop().create_server(
        partial(HttpProtocol, _Scrapes(gateway), ServerState(), {}),
        host,
        port,
        reuse_port=gateway.together is not None,
    )
    try:
        yield
    finally:
        server.close()
