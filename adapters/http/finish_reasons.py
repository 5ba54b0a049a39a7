"""How the choices of an answer end where the server failed. Pure."""

from __future__ import annotations

import re

_BROKEN = frozenset(("error", "abort", "insufficient_system_resource"))
"""Reasons for which an answer ends in vLLM, SGLang, Mistral, OpenRouter and, the last, DeepSeek,
when it is none (https://api-docs.deepseek.com/api/create-chat-completion,
https://openrouter.ai/docs/api-reference/errors)."""
_WRITTEN = tuple(f'"{reason}"'.encode() for reason in sorted(_BROKEN))
_EMPTY = re.compile(rb"\[\s*\]")


def is_broken(finish_reason: str | None) -> bool:
    """Whether a choice ended because the server failed: one that says so is no answer, or a cut
    one."""
    return finish_reason in _BROKEN


def mentions_broken(choices: bytes) -> bool:
    """Whether the JSON of several choices holds such a reason, or the same word elsewhere."""
    return any(word in choices for word in _WRITTEN)


def is_empty(choices: bytes) -> bool:
    """Whether it is a list of none."""
    return _EMPTY.fullmatch(choices) is not None
