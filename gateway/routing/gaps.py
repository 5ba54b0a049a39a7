"""How long a backend rests between calls, and how long it pays to keep it warm meanwhile. Pure.

The time-out is the one that would have cost least over the gaps seen so far: each gap costs the
idle seconds up to the time-out, and ``B`` more when it was longer (a cold start is worth ``B``
idle seconds). Old gaps fade. Until enough gaps are known it is ``B``, which never costs more than
twice the best (ski rental: Karlin, Manasse, McGeoch, Owicki, 1994).
"""

from __future__ import annotations

_FACTORS = (0.0, 0.1, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 10.0)
_DECAY = 0.99
_ENOUGH = 5
_KEPT = 400
"""0.99 ** 400 is 2 %: older gaps do not count any more."""


class GapHistory:
    """Seconds between one call's end and the next one's arrival, the youngest last."""

    def __init__(self) -> None:
        self._gaps: list[float] = []

    def observe(self, seconds: float) -> None:
        """One gap more."""
        self._gaps.append(seconds)
        if len(self._gaps) > 2 * _KEPT:
            del self._gaps[:-_KEPT]

    def timeout(self, worth_s: float) -> float:
        """Seconds after its last call for which the backend should be kept warm."""
        if len(self._gaps) < _ENOUGH:
            return worth_s
        return min((factor * worth_s for factor in _FACTORS), key=lambda t: self._cost(t, worth_s))

    def _cost(self, timeout: float, worth_s: float) -> float:
        total, weight = 0.0, 1.0
        for gap in reversed(self._gaps[-_KEPT:]):
            total += weight * (min(gap, timeout) + (worth_s if gap > timeout else 0.0))
            weight *= _DECAY
        return total
