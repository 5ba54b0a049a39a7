"""A call on its way through a replay, and its runs: a second one where it is asked twice."""

from __future__ import annotations

import msgspec

from adapters.types import Usage
from gateway.replay.formats import FIRST_TOKEN_S, TOKEN_S
from gateway.replay.traffic import Arrival
from gateway.replay.virtual.second_runs import SecondRuns

_EXACTLY_S = 1e-6
"""By less than that a run that is over may seem to be not."""


class CallRun(msgspec.Struct, eq=False, gc=False):
    """At one backend, from the instant at which a worker has it. Monotonic seconds."""

    arrival: Arrival
    runs_s: float
    sent: float
    began: float
    cold: bool
    """It has waited for a start."""

    @property
    def first_token_s(self) -> float:
        """From its beginning to the first token of a stream: the same share of its run as at the
        pace of recordings that have tokens alone."""
        return self.runs_s * FIRST_TOKEN_S / (FIRST_TOKEN_S + TOKEN_S * self.arrival.output)

    def used(self, now: float) -> Usage:
        """Up to an instant."""
        arrival, waited_s, runs_s, written = (
            self.arrival, self.began - self.sent, self.runs_s, self.arrival.output,
        )  # fmt: skip
        ran_s = now - self.began
        if ran_s < runs_s - _EXACTLY_S:
            written = int(written * ran_s / runs_s)
            runs_s = ran_s
        return Usage(
            input_tokens=max(arrival.tokens - arrival.output, 0),
            output_tokens=written,
            queue_s=0.0 if self.cold else waited_s,
            cold_s=waited_s if self.cold else 0.0,
            exec_s=runs_s,
            gpu_s=runs_s,
            reported=True,
        )


class RunningCall:
    """What was recorded of a call, and what becomes of it."""

    __slots__ = ("_asked", "arrival", "runs")

    def __init__(self, arrival: Arrival) -> None:
        self.arrival = arrival
        self.runs: list[CallRun] = []
        """That have begun and have not failed, in turn."""
        self._asked = 0

    def begin(self, name: str, second_runs: SecondRuns, run: CallRun) -> None:
        """One more, of the call that is named so: the first takes what was recorded."""
        if self._asked:
            run.runs_s = second_runs.seconds(self.arrival, f"{name}/{self._asked}")
        self._asked += 1
        self.runs.append(run)
