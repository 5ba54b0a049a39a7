"""A gateway at a real socket before a server of the realtime protocol, and those who talk."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import openai
from starlette.types import Receive, Scope, Send
from websockets.asyncio.client import ClientConnection, connect

from gateway.app import web
from gateway.clock import FakeClock
from gateway.storage.base import LedgerRow
from gateway.storage.queries import CallsQuery, UsageQuery
from local_runtime.http.server_state import ServerState
from tests.adapters.openai.realtime_server import RealtimeServer, realtime_server
from tests.gateway.assembled import AssembledGateway, with_own_kinds
from tests.local_runtime.http.wire import protocol

RATES = (
    "{per_million_input: 4, per_million_cached_input: 0.4, per_million_output: 16, "
    "per_million_audio_output: 64, as_of: 2026-11-01, source: test}"
)
"""Of tokens, as the policies of such tests have them."""
POLICY = """
version: 1
server: {{tls: "off", access_log: false, clients: {{write: 500ms}}}}
backends:
  voice: {{kind: openai, base_url: "{url}", engine: none, model: up, price: tokens, max_run: 1h}}
  timed: {{kind: openai, base_url: "{url}", engine: none, price: seconds, max_run: 60s}}
  gone: {{kind: openai, base_url: "http://127.0.0.1:1", engine: none, price: tokens}}
models:
  talk: {{task: realtime, backends: [voice], max_output_tokens: 100}}
  alias: {{alias: talk}}
  timed: {{task: realtime, backends: [timed]}}
  spare: {{task: realtime, backends: [gone, voice]}}
  chat: {{task: chat, backends: [voice]}}
routes:
  - {{name: spare, when: {{model: spare}}, use: [gone, voice], order: listed}}
  - {{name: all, use: [voice, timed]}}
prices:
  tokens: {rates}
  seconds: {{per_second: 0.001, as_of: 2026-11-01, source: test}}
plans:
  default: {{spend: 1 USD/month}}
  small: {{spend: 0.02 USD/month}}
  one: {{concurrent: 1}}
"""
RESPONSE_NANO = 40 * 4_000 + 60 * 400 + 10 * 16_000 + 30 * 64_000
"""What each response of the server costs."""


class Talks:
    """What a test needs of both."""

    def __init__(self, gateway: AssembledGateway, server: RealtimeServer) -> None:
        self.gateway = gateway
        self.server = server
        self.port = 0
        self.state = ServerState()

    def client(self, key: str) -> openai.AsyncOpenAI:
        url = f"http://127.0.0.1:{self.port}/v1"
        return openai.AsyncOpenAI(api_key=key, base_url=url, max_retries=0)

    def connect(self, model: str = "talk", *, key: str = "", **more: Any) -> connect:
        """A client that is nobody's in particular."""
        url = f"ws://127.0.0.1:{self.port}/v1/realtime?model={model}"
        shown = {"Authorization": f"Bearer {key or self.gateway.key(plan='default')}"}
        more.setdefault("additional_headers", shown)
        return connect(url, proxy=None, close_timeout=2, compression=None, **more)

    async def row(self) -> LedgerRow:
        """That of the only call, once it is settled."""
        async with asyncio.timeout(10):
            while True:
                found = await self.gateway.inner.ledger.calls(
                    CallsQuery(rows=UsageQuery(), most=10)
                )
                if found:
                    return found[0]
                await asyncio.sleep(0.005)


@asynccontextmanager
async def talks(
    folder: Path,
    clock: FakeClock,
    backend: RealtimeServer | None = None,
    rates: str = RATES,
) -> AsyncIterator[Talks]:
    """Serves on a port of its own. ``backend``: another server than usual; ``rates`` of tokens."""
    async with (
        realtime_server(backend) as server,
        with_own_kinds(folder, clock, POLICY.format(url=server.url, rates=rates)) as gateway,
    ):
        found, application = Talks(gateway, server), web(gateway.inner)

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await application(scope, receive, send)

        loop = asyncio.get_running_loop()
        listening = await loop.create_server(lambda: protocol(app, found.state), "127.0.0.1", 0)
        found.port = listening.sockets[0].getsockname()[1]
        try:
            yield found
        finally:
            listening.close()
            for task in tuple(found.state.tasks):
                task.cancel()


async def said(socket: ClientConnection, *events: dict[str, Any]) -> None:
    """Sends these."""
    for event in events:
        await socket.send(json.dumps(event))


async def heard(socket: ClientConnection, until: str) -> list[Any]:
    """What comes, up to an event of this type."""
    events: list[Any] = []
    async with asyncio.timeout(10):
        while not events or events[-1]["type"] != until:
            events.append(json.loads(await socket.recv()))
    return events
