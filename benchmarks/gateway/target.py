"""Where a contender listens, and the request that everybody sends there."""

from __future__ import annotations

import json
from urllib.parse import urlsplit

import msgspec

PATH = "/v1/chat/completions"
MODEL = "bench-model"
MESSAGES = [
    {"role": "system", "content": "Answer in one sentence."},
    {"role": "user", "content": "What does a spillway carry, and when does it begin to?"},
]


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """One place that answers chat completions."""

    url: str
    """Scheme, host and port."""
    key: str = "bench-key"

    @property
    def tls(self) -> bool:
        return self.url.startswith("https:")

    @property
    def address(self) -> tuple[str, int]:
        parts = urlsplit(self.url)
        assert parts.hostname is not None
        assert parts.port is not None
        return parts.hostname, parts.port

    def request(self, *, stream: bool = False) -> bytes:
        """A whole HTTP/1.1 request that keeps its connection."""
        payload = body(stream=stream)
        host, port = self.address
        head = (
            f"POST {PATH} HTTP/1.1\r\nHost: {host}:{port}\r\nAuthorization: Bearer {self.key}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(payload)}\r\n\r\n"
        )
        return head.encode() + payload


def body(*, stream: bool = False) -> bytes:
    extra = {"stream": True} if stream else {}
    return json.dumps({"model": MODEL, "messages": MESSAGES, "max_tokens": 64, **extra}).encode()


def completion() -> bytes:
    """What the upstream answers: a chat completion of OpenAI's shape."""
    text = "A spillway carries the water that a full reservoir cannot hold."
    return json.dumps(
        {
            "id": "chatcmpl-bench",
            "object": "chat.completion",
            "created": 1767225600,
            "model": MODEL,
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": text},
                    "finish_reason": "stop",
                }
            ],
            "usage": {"prompt_tokens": 28, "completion_tokens": 14, "total_tokens": 42},
        }
    ).encode()
