"""OpenAI's own client talks through a whole gateway by a WebSocket: over TLS, and over its end."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from pathlib import Path

import openai
from websockets.exceptions import ConnectionClosed

from tests.adapters.openai.realtime_server import realtime_server
from tests.gateway.realtime.conversations import RATES, RESPONSE_NANO
from tests.live import LiveGateway

POLICY = """
backends:
  voice: {{kind: openai, base_url: "{url}", engine: none, model: up, price: tokens, max_run: 1h}}
models:
  talk: {{task: realtime, backends: [voice], max_output_tokens: 100}}
prices:
  tokens: {rates}
"""


async def test_a_conversation_over_tls_is_settled_however_its_gateway_ends(
    tmp_path: Path,
) -> None:
    """One that goes on is told so by SIGTERM; one that SIGKILL cut is charged as it was held."""
    async with realtime_server() as server:
        config = POLICY.format(url=server.url, rates=RATES)
        gateway = LiveGateway(tmp_path, config, tls=True, server={"drain": "1s"})
        await asyncio.to_thread(gateway.start)
        key = await asyncio.to_thread(lambda: gateway.user_key)
        client = openai.AsyncOpenAI(api_key=key, base_url=f"{gateway.url}/v1", max_retries=0)
        try:
            for end in (gateway.stop, gateway.kill):
                options = {"ssl": ssl.create_default_context(cafile=str(gateway.ca)), "proxy": None}
                talk = await client.realtime.connect(
                    model="talk", websocket_connection_options=options
                ).enter()
                await talk.response.create()
                said = [await talk.recv() for _ in range(5)]
                assert [one.type for one in said[::4]] == ["session.created", "response.done"]
                ending = asyncio.create_task(asyncio.to_thread(end))
                with contextlib.suppress(ConnectionClosed, openai.OpenAIError):
                    while True:
                        said.append(await talk.recv())
                assert [one.type for one in said[5:]] == (["error"] if end == gateway.stop else [])
                await ending
                await asyncio.to_thread(gateway.start)
            async with gateway.async_client(gateway.admin_key) as asked:
                rows = (await asked.get("/usage/calls")).json()["data"]
        finally:
            await asyncio.to_thread(gateway.stop)
    killed, ended = ((row["outcome"], row["cost_nano"]) for row in rows)
    assert ended == ("cancelled", RESPONSE_NANO)
    assert killed[0] == "interrupted"
    assert killed[1] >= RESPONSE_NANO
