"""Which conversation a request belongs to, as its caller names it, or as it begins. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

_HEADERS = (
    b"x-session-id",
    b"x-session-affinity",
    b"modal-session-id",
    b"x-claude-code-session-id",
)
"""As they are in use: of agents, of routers before engines, of Modal, and of Claude Code
(https://code.claude.com/docs/en/llm-gateway-protocol)."""
names_none = frozenset(_HEADERS).isdisjoint
"""Whether headers name no conversation: it is asked of every call."""
_LONGEST = 256
WORTH = 4096
"""Bytes of a body below which too little is kept to look for: providers keep a prefix from some
1,000 tokens on (https://platform.openai.com/docs/guides/prompt-caching)."""
_MARK = "cache_control"
"""Where a client asks for the prompt to be kept up to there: it moves from call to call."""
_ACCOUNT = "x-anthropic-billing-header"
"""A text that Claude Code puts before its system prompt, another one with each call."""


def session_in(headers: Mapping[bytes, bytes]) -> str:
    """The name that a header gives; empty where none does."""
    for name in _HEADERS:
        if (value := headers.get(name)) is not None:
            return value.decode("latin-1").strip()[:_LONGEST]
    return ""


def session_of_chat(cache_key: str | None, turns: Sequence[Any] | None, body_bytes: int) -> str:
    """Of a body: its ``prompt_cache_key``, else what its ``turns`` begin with, up to the first that
    a user wrote; empty of a short one."""
    if cache_key:
        return cache_key[:_LONGEST]
    if not turns or body_bytes < WORTH:
        return ""
    first = next((n for n, one in enumerate(turns) if _is_users(one)), 0)
    begins = msgspec.json.encode(_steady(turns[: first + 1]))
    return "prefix:" + hashlib.blake2b(begins, digest_size=12).hexdigest()


def _is_users(message: Any) -> bool:
    return isinstance(message, dict) and message.get("role") == "user"


def _steady(value: Any) -> Any:
    """Without what differs between calls of one conversation."""
    if isinstance(value, dict):
        return {name: _steady(one) for name, one in value.items() if name != _MARK}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_steady(one) for one in value if not _is_account(one)]
    return value


def _is_account(part: Any) -> bool:
    text = part.get("text") if isinstance(part, dict) else None
    return isinstance(text, str) and text.startswith(_ACCOUNT)
