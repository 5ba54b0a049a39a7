"""What is done in a process of its own is done, and told, as it would be here."""

from __future__ import annotations

import os
from collections.abc import Callable

from gateway.cli.recorded.beside import Beside

HERE = os.getpid()


def counts(*, advanced: Callable[[str, float], object]) -> tuple[int, bool]:
    advanced("half", 0.5)
    advanced("whole", 1.0)
    return 42, os.getpid() == HERE


def dies_elsewhere(*, advanced: Callable[[str, float], object]) -> tuple[int, bool]:
    if os.getpid() != HERE:
        os._exit(9)
    return counts(advanced=advanced)


def test_its_result_and_its_stages_come_from_there() -> None:
    told: list[tuple[str, float]] = []
    beside = Beside(counts, lambda stage, done: told.append((stage, done)))
    beside.hear()
    assert beside.result() == (42, False)
    assert told == [("half", 0.5), ("whole", 1.0)]
    beside.hear()


def test_where_its_process_dies_it_is_done_here() -> None:
    told: list[tuple[str, float]] = []
    beside = Beside(dies_elsewhere, lambda stage, done: told.append((stage, done)))
    assert beside.result() == (42, True)
    beside.hear()
    assert told == [("half", 0.5), ("whole", 1.0)]
