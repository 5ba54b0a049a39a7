"""For what share of the next window a worker will be wanted, by what followed in like cases. Pure.

A case is what is known of one layer at an instant: its share of the last window, its share of the
last minutes, and its share of the window after the same time yesterday. All layers learn from each
other: whether a burst goes on says little about its height.
"""

from __future__ import annotations

from collections import deque

from gateway.planning.shares import Shares, share_of

Case = tuple[int, int, int]

_PRIOR = 20.0
"""Cases seen, for which the guess counts: that the window goes on like the last one and like the
last minutes."""
_FADE = 0.9995
"""What a case weighs after one more instant that was learned from."""
_WINDOW_CUTS = (0.05, 0.3, 0.6, 0.9)
_CUTS = (0.25, 0.75)
_UNKNOWN = len(_CUTS) + 1
"""In place of yesterday's share, where there was no yesterday."""


def _bin(share: float, cuts: tuple[float, ...]) -> int:
    return sum(share >= cut for cut in cuts)


class Outlook:
    """What has followed on each case. ``window``: in instants, which come at a steady pace."""

    __slots__ = ("_asked", "_followed", "_unit", "_window")

    def __init__(self, window: int) -> None:
        self._window = window
        self._asked: deque[list[Case]] = deque()
        """Of each instant whose window has not ended: the cases by layer, from layer 0 on."""
        self._followed: dict[Case, tuple[float, float]] = {}
        """Case -> (weight, weighted sum of shares)."""
        self._unit = 1.0

    def expect(self, window: Shares, recent: Shares, yesterday: Shares | None) -> Shares:
        """At the next instant: by layer the share of the window that begins. ``yesterday`` is None
        where nothing is known of it."""
        if len(self._asked) == self._window:
            self._learn(self._asked.popleft(), window)
        layers = max(len(window), len(recent), len(yesterday or ()))
        cases = [_case(layer, window, recent, yesterday) for layer in range(layers)]
        self._asked.append(cases)
        guesses = ((share_of(window, at) + share_of(recent, at)) / 2 for at in range(1, layers))
        return [0.0, *map(self._expected, cases[1:], guesses)]

    def _expected(self, case: Case, guess: float) -> float:
        weight, total = self._followed.get(case, (0.0, 0.0))
        return (_PRIOR * guess + total / self._unit) / (_PRIOR + weight / self._unit)

    def _learn(self, cases: list[Case], came: Shares) -> None:
        # Older cases are not touched: the newer ones are made heavier.
        self._unit /= _FADE
        if self._unit > 1e100:
            self._rebase()
        # Layer 0 is never wanted: its case is that of a layer that nobody had asked for.
        at_rest = cases[0]
        for layer in range(1, max(len(cases), len(came))):
            case = cases[layer] if layer < len(cases) else at_rest
            weight, total = self._followed.get(case, (0.0, 0.0))
            self._followed[case] = (
                weight + self._unit,
                total + self._unit * share_of(came, layer),
            )

    def _rebase(self) -> None:
        self._followed = {
            case: (weight / self._unit, total / self._unit)
            for case, (weight, total) in self._followed.items()
        }
        self._unit = 1.0


def _case(layer: int, window: Shares, recent: Shares, yesterday: Shares | None) -> Case:
    return (
        _bin(share_of(window, layer), _WINDOW_CUTS),
        _bin(share_of(recent, layer), _CUTS),
        _UNKNOWN if yesterday is None else _bin(share_of(yesterday, layer), _CUTS),
    )
