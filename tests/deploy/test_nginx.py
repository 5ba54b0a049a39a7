"""What stands in front of gateways, read by nginx; the one behind it answers piece by piece."""

from __future__ import annotations

import asyncio
import re
import ssl
from pathlib import Path

import httpx

from benchmarks.gateway.upstream import nginx
from gateway.tls.files import TlsMaterial
from tests.e2e.servers.faulty import FaultyServer
from tests.live import LiveGateway, free_port
from tests.private_authority import issue
from tests.programs.faults.speech import STREAM_HEAD, Asked
from tests.waiting import until

PAGE = (Path(__file__).parents[2] / "deploy" / "nginx" / "spillgate.conf").read_text()
WORD = b'data: {"choices": [{"index": 0, "delta": {"content": "word"}, "finish_reason": null}]}\n\n'
END = (
    b'data: {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}\n\n'
    b'data: {"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 1}}\n\n'
    b"data: [DONE]\n\n"
)
POLICY = """
backends: {{engine: {{kind: openai, base_url: "{engine}", engine: none}}}}
models: {{chat: {{task: chat, backends: [engine]}}}}
"""
CHAT = {"model": "chat", "stream": True, "messages": [{"role": "user", "content": "hi"}]}


def page_for(ports: list[int], port: int, tls: TlsMaterial) -> str:
    """The page with other names for what differs from machine to machine; nothing else."""
    text = PAGE.replace("listen 443 ssl", f"listen 127.0.0.1:{port} ssl")
    for before, after in zip(("8443", "8444"), ports, strict=True):
        text = text.replace(f"127.0.0.1:{before}", f"127.0.0.1:{after}")
    text = text.replace("/etc/ssl/spillgate/cert.pem", str(tls.cert))
    return text.replace("/etc/ssl/spillgate/key.pem", str(tls.key))


class Paced:
    """Answers with a word, and with the end when it is told to."""

    def __init__(self) -> None:
        self.goes_on = asyncio.Event()

    async def play(self, asked: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(STREAM_HEAD + b"%x\r\n%b\r\n" % (len(WORD), WORD))
        await writer.drain()
        await self.goes_on.wait()
        writer.write(b"%x\r\n%b\r\n0\r\n\r\n" % (len(END), END))


async def test_each_piece_passes_at_once_also_where_one_gateway_is_away(tmp_path: Path) -> None:
    paced, port = Paced(), free_port()
    tls = issue(tmp_path / "tls")
    async with FaultyServer(paced.play) as engine:
        gateway = LiveGateway(tmp_path, POLICY.format(engine=engine.url))
        await asyncio.to_thread(gateway.start)
        try:
            page = page_for([free_port(), gateway.port], port, tls)
            with nginx(tmp_path / "nginx", page):
                await ask_through(f"https://127.0.0.1:{port}", gateway, tls, paced)
        finally:
            assert await asyncio.to_thread(gateway.stop) == 0


async def ask_through(url: str, gateway: LiveGateway, tls: TlsMaterial, paced: Paced) -> None:
    head = {"authorization": f"Bearer {gateway.user_key}"}
    async with httpx.AsyncClient(
        base_url=url,
        headers=head,
        verify=ssl.create_default_context(cafile=tls.ca),
        trust_env=False,
    ) as client:

        async def answers() -> bool:
            try:
                return (await client.get("/readyz")).status_code == 200
            except httpx.TransportError:
                return False

        await until(answers, "nginx answers")
        async with client.stream("POST", "/v1/chat/completions", json=CHAT) as answer:
            assert answer.status_code == 200
            pieces = answer.aiter_bytes()
            assert b"word" in await anext(pieces)
            paced.goes_on.set()
            assert (b"".join([piece async for piece in pieces])).endswith(b"data: [DONE]\n\n")
        assert (await client.get("/metrics")).status_code == 200


def test_a_post_is_never_sent_to_a_second_gateway_once_it_was_sent() -> None:
    (kinds,) = re.findall(r"^\s*proxy_next_upstream (.+);$", PAGE, re.MULTILINE)
    assert set(kinds.split()) == {"error", "timeout"}
