"""From logits to a token, and from tokens to text that can be sent as it grows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import torch

BROKEN = "\N{REPLACEMENT CHARACTER}"


class Tokenizer(Protocol):
    """What is needed of a tokenizer of transformers."""

    def decode(self, ids: list[int], *, skip_special_tokens: bool) -> str:
        """The text of these token numbers."""
        ...


class IncrementalText:
    """Token numbers that become text: holds back half a character, and what may turn out to be
    the beginning of a stop. A token costs the decoding of a few, however long the text has grown.
    """

    def __init__(self, tokenizer: Tokenizer, stops: Sequence[str]) -> None:
        self._tokenizer = tokenizer
        self._stops = stops
        self._ids: list[int] = []
        """The last tokens that are text by now, for the space between them and the next, and those
        that are not: together they are no character yet."""
        self._known_ids = 0
        self._known = ""
        """The text of the first ``_known_ids`` of them."""
        self._waiting = ""
        """Text that is not released yet."""
        self.stopped = False

    def add(self, token: int) -> str:
        """The text that may be sent after one more token, often none."""
        self._ids.append(token)
        text = self._decoded()
        if not text.endswith(BROKEN):
            self._waiting += text[len(self._known) :]
            self._ids = self._ids[self._known_ids :]
            self._known_ids, self._known = len(self._ids), self._decoded()
        return self._release(final=False)

    def rest(self) -> str:
        """The text that was held back, to be sent at the end."""
        if self.stopped:
            return ""
        self._waiting += self._decoded()[len(self._known) :]
        return self._release(final=True)

    def _decoded(self) -> str:
        return self._tokenizer.decode(self._ids, skip_special_tokens=True)

    def _release(self, *, final: bool) -> str:
        text, end = self._waiting, len(self._waiting)
        found = [
            (at + len(stop), at) for stop in self._stops if (at := text.find(stop)) >= 0
        ]  # the first to be complete, as if the text had come letter by letter
        if found:
            end, self.stopped = min(found)[1], True
        elif not final:
            end -= _withheld(text, self._stops)
        self._waiting = text[end:]
        return text[:end]


def _withheld(text: str, stops: Sequence[str]) -> int:
    """How many of the last characters may not be sent yet."""
    sizes = [size for stop in stops for size in range(1, len(stop)) if text.endswith(stop[:size])]
    return max(sizes, default=0)


class Draw(NamedTuple):
    """How one row's next token is drawn."""

    temperature: float
    """0: the likeliest is taken."""
    top_p: float
    """Only of the likeliest whose probabilities add up to this (nucleus sampling,
    https://arxiv.org/abs/1904.09751); 1: of all."""
    luck: float
    """From 0 up to 1, drawn evenly."""


def pick(logits: torch.Tensor, draws: Sequence[Draw]) -> list[int]:
    """The next token of each row of the logits (rows, vocabulary). A row's does not depend on the
    others'."""
    picked = logits.argmax(-1)
    warm = [row for row, draw in enumerate(draws) if draw.temperature > 0]
    plain = [row for row in warm if draws[row].top_p >= 1]
    nucleus = [row for row in warm if draws[row].top_p < 1]
    if plain:
        chances = _chances(logits, draws, plain)
        picked[plain] = _drawn(chances, _column(draws, plain, "luck", logits))
    if nucleus:
        chances, order = _chances(logits, draws, nucleus).sort(descending=True)
        likelier = chances.cumsum(-1) - chances
        kept = chances * (likelier < _column(draws, nucleus, "top_p", logits))
        at = _drawn(kept, _column(draws, nucleus, "luck", logits))
        picked[nucleus] = order.gather(1, at.unsqueeze(1)).squeeze(1)
    found: list[int] = picked.tolist()
    return found


def _chances(logits: torch.Tensor, draws: Sequence[Draw], rows: list[int]) -> torch.Tensor:
    """The likeliest is at 0 before the division, so that no temperature, however low, overflows."""
    chosen = logits[rows].float()
    below = chosen - chosen.max(-1, keepdim=True).values
    return (below / _column(draws, rows, "temperature", logits)).softmax(-1)


def _column(draws: Sequence[Draw], rows: list[int], name: str, like: torch.Tensor) -> torch.Tensor:
    values = [[getattr(draws[row], name)] for row in rows]
    return torch.tensor(values, dtype=torch.float32, device=like.device)


def _drawn(chances: torch.Tensor, luck: torch.Tensor) -> torch.Tensor:
    """The index in each row at which the chances (rows, vocabulary), which need not add up to 1,
    have passed ``luck`` (rows, 1) of their sum. Never one without a chance."""
    sums = chances.cumsum(-1)
    before = sums - chances
    reached = (before <= luck * sums[:, -1:]) & (chances > 0)
    places = torch.arange(chances.shape[1], device=chances.device)
    return (places * reached).argmax(-1)
