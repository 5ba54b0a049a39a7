"""From logits to a token, and from tokens to text that can be sent as it grows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch

BROKEN = "\N{REPLACEMENT CHARACTER}"


class Tokenizer(Protocol):
    """What is needed of a tokenizer of transformers."""

    def decode(self, ids: list[int], *, skip_special_tokens: bool) -> str: ...


class Text:
    """Token numbers that become text: holds back half a character, and what may turn out to be
    the beginning of a stop."""

    def __init__(self, tokenizer: Tokenizer, stops: Sequence[str]) -> None:
        self._tokenizer = tokenizer
        self._stops = stops
        self._ids: list[int] = []
        self._said = 0
        self.stopped = False

    def add(self, token: int) -> str:
        """What may be said after one more token."""
        self._ids.append(token)
        return self._say(final=False)

    def rest(self) -> str:
        """What was held back and is to be said at the end."""
        return "" if self.stopped else self._say(final=True)

    def _say(self, *, final: bool) -> str:
        text = self._tokenizer.decode(self._ids, skip_special_tokens=True)
        end = len(text)
        found = [at for stop in self._stops if (at := text.find(stop)) >= 0]
        if found:
            end, self.stopped = min(found), True
        elif not final:
            end -= _held(text, self._stops)
        piece, self._said = text[self._said : end], max(self._said, end)
        return piece


def _held(text: str, stops: Sequence[str]) -> int:
    """How many of the last characters may not be said yet."""
    if text.endswith(BROKEN):
        return len(text) - len(text.rstrip(BROKEN))
    sizes = [size for stop in stops for size in range(1, len(stop)) if text.endswith(stop[:size])]
    return max(sizes, default=0)


def pick(
    logits: torch.Tensor, temperature: float | None, top_p: float | None, random: torch.Generator
) -> int:
    """The next token by its logits (vocabulary,): the likeliest at temperature 0, else drawn from
    the likeliest whose probabilities add up to ``top_p`` (nucleus sampling,
    https://arxiv.org/abs/1904.09751). None: a temperature of 1, and all of them."""
    temperature = 1.0 if temperature is None else temperature
    if temperature <= 0:
        return int(logits.argmax())
    chances, order = (logits / temperature).softmax(-1).sort(descending=True)
    if top_p is not None and top_p < 1:
        chances = chances * (chances.cumsum(-1) - chances < top_p)
    return int(order[torch.multinomial(chances, 1, generator=random)])
