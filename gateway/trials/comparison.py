"""What sets the decisions of two policies apart, over the same calls at the same instants. Pure."""

from __future__ import annotations

from collections import Counter
from typing import Any

from gateway.routing.router import Decision, Quote
from gateway.types import NANO

_NOWHERE = "none"


class TrialComparison:
    """Of first choices, by what was predicted of them."""

    def __init__(self) -> None:
        self.calls = 0
        self.failed = 0
        """Decisions that the second policy could not make."""
        self._moved: Counter[tuple[str, str]] = Counter()
        self._in_force, self._candidate = _Predicted(), _Predicted()

    def add(self, in_force: Decision, candidate: Decision) -> None:
        """One call."""
        self.calls += 1
        one, other = _first(in_force), _first(candidate)
        self._in_force.add(one, in_force.slo)
        self._candidate.add(other, candidate.slo)
        if _name(one) != _name(other):
            self._moved[_name(one), _name(other)] += 1

    def as_json(self) -> dict[str, Any]:
        """``usd`` and ``wait_s`` are means of the calls for which there was a backend."""
        return {
            "calls": self.calls,
            "failed": self.failed,
            "elsewhere": sum(self._moved.values()),
            "moved": [
                {"from": one, "to": other, "calls": calls}
                for (one, other), calls in self._moved.most_common()
            ],
            "policy_in_force": self._in_force.as_json(),
            "candidate": self._candidate.as_json(),
        }


class _Predicted:
    def __init__(self) -> None:
        self._calls = self._refused = self._late = self._cold = 0
        self._nano = 0
        self._wait_s = 0.0

    def add(self, quote: Quote | None, slo: float) -> None:
        if quote is None:
            self._refused += 1
            return
        self._calls += 1
        self._nano += quote.estimate.marginal
        self._wait_s += quote.delay.seconds
        self._late += quote.delay.seconds > slo
        self._cold += quote.delay.cold

    def as_json(self) -> dict[str, Any]:
        calls = self._calls
        return {
            "usd": self._nano / NANO / calls if calls else None,
            "wait_s": self._wait_s / calls if calls else None,
            "late": self._late,
            "cold": self._cold,
            "nowhere": self._refused,
        }


def _first(decision: Decision) -> Quote | None:
    return decision.quotes[0] if decision.quotes else None


def _name(quote: Quote | None) -> str:
    return _NOWHERE if quote is None else quote.backend
