"""How many choices a body of OpenAI's protocol asks for. Pure."""

from __future__ import annotations

from typing import Any

import msgspec

from adapters.http.failures import read_if


class _Asked(msgspec.Struct):
    n: int | None = None
    prompt: Any = None


def choices_asked(body: bytes) -> int:
    """``n``, for each of its prompts; 1 where the body does not say it, or nobody can read it.

    Source: https://platform.openai.com/docs/api-reference/completions/create
    """
    asked = read_if(body, _Asked)
    if asked is None:
        return 1
    prompts = 1
    if isinstance(asked.prompt, list) and not all(isinstance(one, int) for one in asked.prompt):
        prompts = len(asked.prompt)
    return max(1, asked.n or 1) * prompts
