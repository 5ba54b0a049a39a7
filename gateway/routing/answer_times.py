"""After how long a backend that has not answered is silent rather than slow. Pure."""

from __future__ import annotations

ENOUGH = 50
"""Answers that must have been seen before a silence means anything."""
GENEROUS = 4.0
"""As many times as long as the slowest answers took, by what this call asks for."""
SHORTEST_S = 30.0
"""No silence is called one sooner."""
_FADES = 0.995
"""Of a record, at each answer after it: what was slow once is half forgotten after 140."""


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
        longest, per_byte = self._longest * _FADES, self._per_byte * _FADES
        each = seconds / (body_bytes or 1)
        # Asked of every call: a conditional costs half of what max() does.
        self._longest = seconds if seconds > longest else longest
        self._per_byte = each if each > per_byte else per_byte
        if output_tokens:
            self._counted = True
            self._per_token = max(seconds / output_tokens, self._per_token * _FADES)

    def silent_after(self, output_tokens: int, body_bytes: int) -> float | None:
        """Seconds, for a call that may produce so many tokens; None while too little is known."""
        if self._seen < ENOUGH or (output_tokens and not self._counted):
            return None
        plausible = max(self._longest, self._per_token * output_tokens, self._per_byte * body_bytes)
        return max(SHORTEST_S, GENEROUS * plausible)
