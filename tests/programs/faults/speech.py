"""What the programs say, and what they were asked: raw bytes, which no server's library mends."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

NEVER_S = 3600.0
USED = {"usage": {"prompt_tokens": 9, "completion_tokens": 6}}
"""What failures state that they used, some of them."""


class Asked(msgspec.Struct, frozen=True):
    """A request."""

    method: str
    path: str
    body: bytes
    head: str = ""
    """All of it, in lower case."""

    @property
    def stream(self) -> bool:
        """Whether the answer is to come in pieces."""
        return b'"stream":true' in self.body


Play = Callable[[Asked, asyncio.StreamWriter], Awaitable[None]]
"""Answers one request; a program that closes the writer has ended the connection."""


def answer(
    status: int,
    body: Any = b"",
    *heads: str,
    kind: str = "application/json",
    size: int | None = None,
) -> bytes:
    """An answer of one piece; ``size`` is what its head promises."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [
        f"HTTP/1.1 {status} Whatever",
        f"content-type: {kind}",
        f"content-length: {len(data) if size is None else size}",
        *heads,
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + data


STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
)


def event(value: Any) -> bytes:
    """A server-sent event of JSON."""
    return b"data: %b\n\n" % json.dumps(value).encode()


def chunk(data: bytes) -> bytes:
    """One piece of a body that is sent in pieces; the empty one ends it."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def error(message: str, **more: Any) -> dict[str, Any]:
    """OpenAI's error object."""
    return {"error": {"message": message, **more}}
