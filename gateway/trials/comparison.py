"""What sets the decisions of two policies apart, over the same calls at the same instants. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

import msgspec

from gateway.routing.router import Decision, Quote
from gateway.types import NANO

_NOWHERE = "none"


class PredictedSums(msgspec.Struct):
    """Of the first choices of one policy."""

    calls: int = 0
    refused: int = 0
    late: int = 0
    cold: int = 0
    nano: int = 0
    wait_s: float = 0.0

    def add(self, quote: Quote | None, slo: float) -> None:
        """One call."""
        if quote is None:
            self.refused += 1
            return
        self.calls += 1
        self.nano += quote.estimate.marginal
        self.wait_s += quote.delay.seconds
        self.late += quote.delay.seconds > slo
        self.cold += quote.delay.cold

    def merge(self, other: PredictedSums) -> None:
        """With those of another process."""
        for name in self.__struct_fields__:
            setattr(self, name, getattr(self, name) + getattr(other, name))

    def as_json(self) -> dict[str, Any]:
        """Means and counts."""
        calls = self.calls
        return {
            "usd": self.nano / NANO / calls if calls else None,
            "wait_s": self.wait_s / calls if calls else None,
            "late": self.late,
            "cold": self.cold,
            "nowhere": self.refused,
        }


class TrialCounts(msgspec.Struct):
    """Of first choices, by what was predicted of them, in one process or in several."""

    trial: str
    """Whose: the same in every process that tries the same, and of nothing else."""
    calls: int = 0
    failed: int = 0
    """Decisions that the second policy could not make."""
    moved: list[tuple[str, str, int]] = []
    """(backend by the policy in force, by the other one, calls)."""
    in_force: PredictedSums = msgspec.field(default_factory=PredictedSums)
    candidate: PredictedSums = msgspec.field(default_factory=PredictedSums)

    def as_json(self) -> dict[str, Any]:
        """``usd`` and ``wait_s`` are means of the calls for which there was a backend."""
        moved = sorted(self.moved, key=lambda one: (-one[2], one[0], one[1]))
        return {
            "calls": self.calls,
            "failed": self.failed,
            "elsewhere": sum(calls for _, _, calls in moved),
            "moved": [{"from": one, "to": other, "calls": calls} for one, other, calls in moved],
            "policy_in_force": self.in_force.as_json(),
            "candidate": self.candidate.as_json(),
        }


class TrialComparison:
    """Counts in this process."""

    def __init__(self, trial: str = "") -> None:
        self.failed = 0
        self._counts = TrialCounts(trial)
        self._moved: Counter[tuple[str, str]] = Counter()

    def add(self, in_force: Decision, candidate: Decision) -> None:
        """One call."""
        counts = self._counts
        counts.calls += 1
        one, other = _first(in_force), _first(candidate)
        counts.in_force.add(one, in_force.slo)
        counts.candidate.add(other, candidate.slo)
        if _name(one) != _name(other):
            self._moved[_name(one), _name(other)] += 1

    @property
    def counts(self) -> TrialCounts:
        """So far."""
        moved = [(*names, calls) for names, calls in self._moved.items()]
        return msgspec.structs.replace(self._counts, failed=self.failed, moved=moved)


def together(trial: str, each: Iterable[TrialCounts]) -> TrialCounts:
    """The sums of all that are of this trial."""
    total, moved = TrialCounts(trial), Counter[tuple[str, str]]()
    for counts in each:
        if counts.trial != trial:
            continue
        total.calls += counts.calls
        total.failed += counts.failed
        total.in_force.merge(counts.in_force)
        total.candidate.merge(counts.candidate)
        for one, other, calls in counts.moved:
            moved[one, other] += calls
    total.moved = [(*names, calls) for names, calls in moved.items()]
    return total


def _first(decision: Decision) -> Quote | None:
    return decision.quotes[0] if decision.quotes else None


def _name(quote: Quote | None) -> str:
    return _NOWHERE if quote is None else quote.backend
