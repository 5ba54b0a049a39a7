"""Where a contender listens, and the request that everybody sends there."""

from __future__ import annotations

import json
from urllib.parse import urlsplit

import msgspec

PATH = "/v1/chat/completions"
RESPONSES = "/v1/responses"
MODEL = "bench-model"
QUESTION = "What does a spillway carry, and when does it begin to?"
MESSAGES = [
    {"role": "system", "content": "Answer in one sentence."},
    {"role": "user", "content": QUESTION},
]
LARGE = 256 * 1024
"""Bytes of a large body, and of a large answer."""
WANTS_LARGE = 2048
"""Bytes of a body that the upstream answers at length; it goes by nothing else, for that reaches it
through every contender."""
_ANSWER = "A spillway carries the water that a full reservoir cannot hold."
_WORDS = "The reservoir is full and the gate stands open. "


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """One place that answers chat completions."""

    url: str
    """Scheme, host and port."""
    key: str = "bench-key"
    keys: tuple[str, ...] = ()
    """With which calls come in turn, where there are several."""
    path: str = PATH
    model: str = MODEL
    """As the contender calls it."""
    headers: tuple[tuple[str, str], ...] = ()
    """That it needs beside the key."""

    @property
    def tls(self) -> bool:
        return self.url.startswith("https:")

    @property
    def address(self) -> tuple[str, int]:
        parts = urlsplit(self.url)
        assert parts.hostname is not None
        assert parts.port is not None
        return parts.hostname, parts.port

    def body(self, *, stream: bool = False, size: int = 0) -> bytes:
        """What is asked, padded to ``size`` bytes."""
        if self.path == RESPONSES:
            return _json({"model": self.model, "input": QUESTION, "max_output_tokens": 64})
        extra = {"stream": True} if stream else {}
        asked = {"model": self.model, "messages": MESSAGES, "max_tokens": 64, **extra}
        lacking = size - len(_json(asked))
        if lacking <= 0:
            return _json(asked)
        system, user = MESSAGES
        longer = {**user, "content": QUESTION + _padding(lacking)}
        return _json({**asked, "messages": [system, longer]})

    def request(self, *, stream: bool = False) -> bytes:
        """A whole HTTP/1.1 request that keeps its connection."""
        payload = self.body(stream=stream)
        host, port = self.address
        more = "".join(f"{name}: {value}\r\n" for name, value in self.headers)
        head = (
            f"POST {self.path} HTTP/1.1\r\nHost: {host}:{port}\r\n"
            f"Authorization: Bearer {self.key}\r\nContent-Type: application/json\r\n"
            f"{more}Content-Length: {len(payload)}\r\n\r\n"
        )
        return head.encode() + payload


def body() -> bytes:
    """What most contenders are asked."""
    return Target(url="http://nowhere").body()


def completion(size: int = 0) -> bytes:
    """What the upstream answers: a chat completion of OpenAI's shape, padded to ``size`` bytes."""
    whole = _completion(_ANSWER)
    lacking = size - len(whole)
    return whole if lacking <= 0 else _completion(_padding(lacking + len(_ANSWER)))


def _completion(text: str) -> bytes:
    return _json(
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
    )


def _padding(size: int) -> str:
    return (_WORDS * (size // len(_WORDS) + 1))[:size]


def _json(value: object) -> bytes:
    return json.dumps(value).encode()
