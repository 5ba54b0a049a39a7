"""A seed is the same day each time, in whatever process it is played."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.simulation.seeds import run

_SEEDS = (3, 20, 38)
_TOLD = f"""
from tests.simulation.seeds import run
print([run(seed).digest for seed in {_SEEDS}])
"""
_ROOT = Path(__file__).parents[2]


def test_the_same_seed_is_the_same_day() -> None:
    for seed in _SEEDS:
        first, second = run(seed), run(seed)
        assert first.notes == second.notes
        assert first == second


def test_another_seed_is_another_day() -> None:
    assert len({run(seed).digest for seed in range(10)}) == 10


@pytest.mark.parametrize("hash_seed", ["0", "1", "4294967295"])
def test_it_is_the_same_in_a_process_that_hashes_otherwise(hash_seed: str) -> None:
    told = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", _TOLD],
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        cwd=_ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert told.stdout.strip() == str([run(seed).digest for seed in _SEEDS])
