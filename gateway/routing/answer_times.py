"""After how long a backend that has not answered is silent rather than slow. Pure."""

from __future__ import annotations

from typing import NamedTuple

ENOUGH = 50
"""Answers that must have been seen before a silence means much."""
GENEROUS = 4.0
"""As many times as long as the slowest answers took."""
SHORTEST_S = 30.0
"""No silence is called one sooner."""
UNKNOWN_S = 120.0
"""Nor sooner than this while fewer answers were seen: some take a minute and are well."""
DOUBTED_S, DOUBTED_UNKNOWN_S = 5.0, 10.0
"""The same of a backend that was silent before and has answered nobody since: where enough answers
were seen, and where not."""
ANOTHERS_SHARE = 0.5
"""Of the time that a call has, what is left to the next backend."""
BARELY = 1.25
"""As many times as long as the slowest answers took is left to a backend in any case, and as long
as the slowest token and byte make of what the call asks for."""
_SHORT, _SHORT_BODY = 32, 4096
"""Up to so many tokens and bytes an answer's time says nothing of a token or a byte."""
_FADES = 0.995
"""Of a record, at each answer after it: what was slow once is half forgotten after 140."""


class Slowest(NamedTuple):
    """What the slowest answers of a model at one backend took, and what they make plausible for a
    call that asks for more, in seconds; 0 where no answer was seen."""

    took_s: float = 0.0
    plausible_s: float = 0.0
    is_known: bool = False
    """By answers enough."""


class AnswerTimes:
    """The slowest answers of one model at one backend: in seconds, in seconds for each token of
    output, and for each byte of input."""

    __slots__ = ("_counted", "_longest", "_per_byte", "_per_token", "_seen")

    def __init__(self) -> None:
        self._seen = 0
        self._counted = False
        self._longest = self._per_token = self._per_byte = 0.0

    def observe(self, seconds: float, output_tokens: int, body_bytes: int) -> None:
        """One answer more. ``output_tokens``: 0 where nobody said, or there are none."""
        self._seen += 1
        longest = self._longest * _FADES
        # Asked of every call: a conditional costs half of what max() does.
        self._longest = seconds if seconds > longest else longest
        if body_bytes > _SHORT_BODY:
            self._per_byte = max(seconds / body_bytes, self._per_byte * _FADES)
        if output_tokens:
            self._counted = True
            if output_tokens > _SHORT:
                self._per_token = max(seconds / output_tokens, self._per_token * _FADES)

    def slowest(self, output_tokens: int, body_bytes: int) -> Slowest:
        """For a call that may produce so many tokens."""
        plausible_s = max(self._per_token * output_tokens, self._per_byte * body_bytes)
        known = self._seen >= ENOUGH and (self._counted or not output_tokens)
        return Slowest(self._longest, max(self._longest, plausible_s), known)


def longest_silence(slowest: Slowest, left_s: float, *, in_doubt: bool) -> float:
    """Seconds after which a backend that has brought nothing is left for another one, by what its
    answers took. ``left_s``: what the call has for all its attempts; ``in_doubt``: the backend has
    left a call without a word, and answered none since."""
    barely_s = BARELY * slowest.took_s
    if in_doubt:
        silence_s = max(DOUBTED_S if slowest.is_known else DOUBTED_UNKNOWN_S, barely_s)
    else:
        least_s = SHORTEST_S if slowest.is_known else UNKNOWN_S
        silence_s = max(least_s, GENEROUS * slowest.took_s, BARELY * slowest.plausible_s)
    return min(silence_s, max(left_s * ANOTHERS_SHARE, barely_s))
