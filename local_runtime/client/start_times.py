"""What the starts of workers took, stage by stage, and how long the next should take. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from local_runtime.protocol.events import Ready, Standby

STAGES = ("process", "load", "init", "warmup")
"""The interpreter and the runtime; the import of the app; its init, where weights are loaded; its
samples, run once. In this order."""

FIRST_GUESS_S = 10.0
"""Seconds of a start, until one was seen."""

_DONE: dict[Standby, int] = {"none": 0, "imported": 2, "loaded": 4}


def stages_of(ready: Ready) -> dict[str, float]:
    """Seconds of each stage of one start."""
    return dict(
        zip(STAGES, (ready.process_s, ready.load_s, ready.init_s, ready.warmup_s), strict=True)
    )


def waited_for(stages: Mapping[str, float], standby: Standby) -> float:
    """Seconds that a caller would have waited: the stages that no spare had done
    before, as ``standby`` says; a guess where none was seen."""
    if not stages:
        return FIRST_GUESS_S if standby == "none" else 0.0
    return sum(stages[stage] for stage in STAGES[_DONE[standby] :])


def still_to_come(expected_s: float, passed_s: float) -> float:
    """Seconds that are left of a start; of one that takes longer than expected, as many as it is
    late: the later it is, the less is known."""
    return abs(expected_s - passed_s)
