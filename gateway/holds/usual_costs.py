"""What calls turn out to cost, as a share of what was held for them: the most that they could cost.

It is learned from the last calls of a key and model that succeeded. Nothing that is learned here
gives a call room: a call for which more comes true than was usual is covered by its hold.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque

_KEPT = 32
"""Calls that are looked back on."""
_FEWEST = 3
"""Calls from which something is told."""
_KEYS = 4096
"""The most pairs of a key and a model that are known."""
_USUAL = 0.9
"""The share of the calls that cost no more than what is usual."""
_USUALLY = round(_USUAL * _KEPT)
"""Where it stands among all that are looked back on."""
_UNKNOWN = 1 / 8
"""The mean share of a kind of calls of which nothing is known: rather too many wait than too few
are let in."""


class _Shares:
    """Of one kind of calls."""

    __slots__ = ("_last", "_ordered", "_sum", "is_known", "usual")

    def __init__(self) -> None:
        self._last: deque[float] = deque()
        self._ordered: list[float] = []
        self._sum = 0.0
        self.usual = 1.0
        self.is_known = False
        """Enough calls were seen to tell."""

    def observe(self, share: float) -> bool:
        """Whether something was learned from it that others may not know yet."""
        last, ordered, usual = self._last, self._ordered, self.usual
        last.append(share)
        insort(ordered, share)
        self._sum += share
        if len(last) > _KEPT:
            gone = last.popleft()
            del ordered[bisect_left(ordered, gone)]
            self._sum -= gone
            self.usual = ordered[_USUALLY]
            return self.usual != usual
        count = len(last)
        if count >= _FEWEST:
            self.is_known = True
            self.usual = ordered[min(count - 1, round(_USUAL * count))]
        return True

    @property
    def mean(self) -> float:
        return max(self._sum / len(self._last), 0.0) if self.is_known else _UNKNOWN


_NOTHING_KNOWN = _Shares()
"""Of a kind of which nothing is known."""


class UsualCosts:
    """By key and model, and by model for keys that have made too few calls."""

    def __init__(self) -> None:
        self._of_keys: dict[tuple[str, str], _Shares] = {}
        self._of_models: dict[str, _Shares] = {}

    def observe(self, key_id: str, model: str, held_nano: int, cost_nano: int) -> None:
        """A call for which so many nano-dollars were held has succeeded at this cost. Its model
        learns from a key as long as that is new, and whenever what is usual for it changes."""
        share = cost_nano / held_nano if cost_nano < held_nano else 1.0
        own = self._of_keys.get((key_id, model))
        if own is None:
            own = self._begin(key_id, model)
        if not own.observe(share):
            return
        of_model = self._of_models.get(model)
        if of_model is None:
            of_model = self._of_models[model] = _Shares()
        of_model.observe(share)

    def surplus(self, key_id: str, model: str, held_nano: int) -> int:
        """Nano-dollars of what is held that nine of ten such calls give back; 0 where nothing is
        known of them."""
        known = self._of_keys.get((key_id, model))
        if known is None or not known.is_known:
            known = self._of_models.get(model, _NOTHING_KNOWN)
        usual = int(held_nano * known.usual + 0.5)
        return held_nano - usual if usual < held_nano else 0

    def least(self, key_id: str, model: str, held_nano: int) -> int:
        """Nano-dollars of what is held below which a bound would cut such answers short."""
        known = self._known(key_id, model)
        return round(held_nano * (known.usual if known.is_known else _UNKNOWN))

    def mean(self, key_id: str, model: str) -> float:
        """What such calls cost of what is held for them, on average: a share."""
        return self._known(key_id, model).mean

    def _known(self, key_id: str, model: str) -> _Shares:
        own = self._of_keys.get((key_id, model))
        if own is not None and own.is_known:
            return own
        return self._of_models.get(model, _NOTHING_KNOWN)

    def _begin(self, key_id: str, model: str) -> _Shares:
        if len(self._of_keys) >= _KEYS:
            del self._of_keys[next(iter(self._of_keys))]
        found = self._of_keys[key_id, model] = _Shares()
        return found
