"""What Ray is asked for."""

from __future__ import annotations

from pathlib import Path

import pytest

import local_runtime
from local_runtime.ray.cluster import ClusterNeeds, runtime_env


def test_the_whole_runtime_is_brought_to_machines_that_share_no_folder() -> None:
    package = str(Path(local_runtime.__file__).parent)
    assert runtime_env("/app") == {"working_dir": "/app", "py_modules": [package]}
    assert runtime_env(None) is None


@pytest.mark.parametrize(
    ("cpus", "gpus", "words"),
    [(1, 1, "1 GPU and 1 CPU"), (0.5, 2, "2 GPUs and 0.5 CPUs"), (0, 0, "nothing")],
)
def test_what_a_worker_needs_is_said_in_words(cpus: float, gpus: float, words: str) -> None:
    needs = ClusterNeeds(address="auto", namespace="n", cpus=cpus, gpus=gpus, working_dir=None)
    assert needs.words == words
