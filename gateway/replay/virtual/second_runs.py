"""How long a call would run that is asked once more. Pure.

A recording has one run of each call. How far that was longer or shorter than its tokens let one
expect is taken for chance, which strikes anew at every run: by what calls of the model run for so
many tokens, and how far another one of them was from that. Where all of a run follows from its
tokens a second one takes as long; where no tokens were recorded all of it is chance, which is the
most that a second run can gain.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence

from gateway.replay.traffic import Arrival


class SecondRuns:
    """Of the calls of one recording. The same ``seed`` draws the same of the same call."""

    def __init__(self, arrivals: Sequence[Arrival], seed: int = 1) -> None:
        self._arrivals = arrivals
        self._seed = seed
        self._by_model: dict[str, _Runs] = {}

    def seconds(self, arrival: Arrival, name: str) -> float:
        """Of a call of the recording; ``name``: of the call, and of the run."""
        if not self._by_model:
            self._learn()
        runs = self._by_model[arrival.model]
        other = random.Random(f"{self._seed}/{name}").choice(runs.arrivals)
        usual_s = runs.usual_s(other)
        return runs.usual_s(arrival) * (other.runs_s / usual_s) if usual_s else other.runs_s

    def _learn(self) -> None:
        by_model = defaultdict[str, list[Arrival]](list)
        for one in self._arrivals:
            by_model[one.model].append(one)
        self._by_model = {model: _Runs(arrivals) for model, arrivals in by_model.items()}


class _Runs:
    """What calls of one model run for their tokens of output: a straight line through them."""

    def __init__(self, arrivals: Sequence[Arrival]) -> None:
        self.arrivals = arrivals
        count = len(arrivals)
        mean_s = sum(one.runs_s for one in arrivals) / count
        output = sum(one.output for one in arrivals) / count
        spread = sum((one.output - output) ** 2 for one in arrivals)
        both = sum((one.output - output) * (one.runs_s - mean_s) for one in arrivals)
        self._token_s = max(both / spread, 0.0) if spread else 0.0
        self._rest_s = mean_s - self._token_s * output
        if self._rest_s < 0:  # nobody runs for less than nothing
            self._token_s, self._rest_s = mean_s / output, 0.0

    def usual_s(self, one: Arrival) -> float:
        """Seconds that such a call runs as a rule."""
        return self._rest_s + self._token_s * one.output
