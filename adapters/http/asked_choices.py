"""How many choices a body of OpenAI's protocol asks for, and how many of a stream have ended."""

from __future__ import annotations

from typing import Any

import msgspec

from adapters.shapes.json_texts import read_if


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


class Choices:
    """Those of one stream. ``asked`` is the body of the call."""

    __slots__ = ("_asked", "begun", "ended")

    def __init__(self, asked: bytes) -> None:
        self._asked = asked
        self.begun: set[int] = set()
        """Their numbers."""
        self.ended: set[int] = set()
        """Those that have said why they ended."""

    @property
    def finished(self) -> bool:
        """Every one that has begun has said why it ended, and all that were asked for have."""
        return self.begun <= self.ended and len(self.ended) >= choices_asked(self._asked)

    @property
    def unfinished(self) -> set[int]:
        """Those that have begun and not said why they ended, where another has: a server that
        never says it is believed when it says [DONE]."""
        return self.begun - self.ended if self.ended else set()
