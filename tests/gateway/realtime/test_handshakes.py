"""What is no handshake of a WebSocket, and whose key it shows, byte for byte."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from gateway.clock import FakeClock
from tests.gateway.realtime.conversations import Talks, talks

_WISH = (
    "Host: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)
_PATH = "/v1/realtime?model=talk"
_CHUNKED = "Transfer-Encoding: chunked\r\n"


async def answered(found: Talks, sent: str) -> tuple[int, str]:
    """The status, and the code of the error."""
    reader, writer = await asyncio.open_connection("127.0.0.1", found.port)
    writer.write(sent.encode())
    async with asyncio.timeout(10):
        head = await reader.readuntil(b"\r\n\r\n")
        if b" 101 " in head.partition(b"\r\n")[0]:
            writer.transport.abort()
            return 101, ""
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        body = b"" if sent.startswith("HEAD") else await reader.readexactly(length)
    writer.transport.abort()
    return int(head.split()[1]), json.loads(body)["error"]["code"] if body else ""


@pytest.mark.parametrize(
    ("line", "more", "behind", "status", "code"),
    [
        pytest.param(f"GET {_PATH} HTTP/1.0", "", "", 426, "websocket_required", id="HTTP/1.0"),
        pytest.param(f"HEAD {_PATH} HTTP/1.1", "", "", 405, "", id="HEAD"),
        pytest.param(f"POST {_PATH} HTTP/1.1", "", "", 405, "method_not_allowed", id="POST"),
        pytest.param(
            f"GET {_PATH} HTTP/1.1",
            _CHUNKED,
            "0\r\n\r\nGET /v1/models HTTP/1.1\r\nHost: x\r\n\r\n",
            400,
            "invalid_websocket",
            id="a body and another request",
        ),
        pytest.param(
            f"GET {_PATH} HTTP/1.1",
            "Content-Length: 5\r\n",
            "hello",
            400,
            "invalid_websocket",
            id="a body",
        ),
    ],
)
async def test_no_handshake_is_told_so(
    line: str, more: str, behind: str, status: int, code: str, tmp_path: Path, clock: FakeClock
) -> None:
    async with talks(tmp_path, clock) as found:
        shown = f"Authorization: Bearer {found.gateway.key()}\r\n"
        sent = f"{line}\r\n{_WISH}{shown}{more}\r\n{behind}"
        assert await answered(found, sent) == (status, code)
        assert found.server.requests == []


@pytest.mark.parametrize(
    ("path", "shown", "offered", "status", "code"),
    [
        pytest.param(_PATH, "", ["alice"], 101, "", id="alone"),
        pytest.param(_PATH, "alice", ["alice"], 101, "", id="the same twice"),
        pytest.param(_PATH, "alice", ["bob"], 400, "ambiguous_header", id="beside another's"),
        pytest.param(_PATH, "", ["alice", "bob"], 400, "ambiguous_header", id="two"),
        pytest.param("/v1/models", "", ["alice"], 401, "missing_api_key", id="elsewhere"),
    ],
)
async def test_a_key_among_the_protocols(
    path: str,
    shown: str,
    offered: list[str],
    status: int,
    code: str,
    tmp_path: Path,
    clock: FakeClock,
) -> None:
    async with talks(tmp_path, clock) as found:
        keys = {user: found.gateway.key(user=user) for user in ("alice", "bob")}
        header = f"Authorization: Bearer {keys[shown]}\r\n" if shown else ""
        protocols = ", ".join(f"openai-insecure-api-key.{keys[user]}" for user in offered)
        header += f"Sec-WebSocket-Protocol: realtime, {protocols}\r\n"
        sent = f"GET {path} HTTP/1.1\r\n{_WISH}{header}\r\n"
        assert await answered(found, sent) == (status, code)
