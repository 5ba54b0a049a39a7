"""How long the next start should take."""

from __future__ import annotations

import pytest

from local_runtime.client.start_times import FIRST_GUESS_S, stages_of, still_to_come, waited_for
from local_runtime.protocol.events import Ready, Standby

READY = Ready(1, ("/",), "cpu", load_s=2.0, init_s=4.0, warmup_s=8.0, process_s=1.0)
STAGES = {"process": 1.0, "load": 2.0, "init": 4.0, "warmup": 8.0}


def test_each_stage_of_a_start_is_known_apart() -> None:
    assert stages_of(READY) == STAGES


@pytest.mark.parametrize(("standby", "seconds"), [("none", 15), ("imported", 12), ("loaded", 0)])
def test_what_a_spare_did_ahead_is_not_waited_for(standby: Standby, seconds: float) -> None:
    assert waited_for(STAGES, standby) == seconds


def test_before_any_start_was_seen_there_is_a_guess() -> None:
    assert waited_for({}, "none") == FIRST_GUESS_S


def test_a_start_that_is_late_is_expected_to_be_as_late_again() -> None:
    """Never at once: whoever predicts nothing would draw all calls there."""
    assert [still_to_come(10, passed) for passed in (0, 4, 10, 13)] == [10, 6, 0, 3]
