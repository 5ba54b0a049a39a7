"""Workers on a Ray cluster: what a policy may say of them, and what is said of what it may not."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.policy.reader import read_policy_text
from gateway.policy.syntax.problems import PolicyError

POLICY = """version: 1
backends:
  home:
    kind: local
    app: a.py:app
    workers: %s
    %s
models:
  a: {task: infer, backends: [home]}
"""


def settings(workers: str, more: str = "threads: 1") -> Any:
    return read_policy_text(POLICY % (workers, more), {}).backends["home"].settings


def said(workers: str, more: str = "threads: 1") -> str:
    with pytest.raises(PolicyError) as caught:
        read_policy_text(POLICY % (workers, more), {}, "p.yaml")
    return str(caught.value).removeprefix("p.yaml:").replace("backends.home.", "")


def test_a_number_is_a_number_of_processes_on_this_machine() -> None:
    assert settings("3").workers == 3


def test_one_worker_with_one_gpu_is_what_ray_alone_says() -> None:
    placed = settings("{engine: ray}").workers
    assert (placed.address, placed.gpus, placed.cpus) == ("auto", 1, 1)
    bounds = placed.replicas.bounds
    assert (bounds.least, bounds.most) == (1, 1)


def test_the_number_moves_between_bounds_by_times_that_are_told() -> None:
    replicas = "{min: 2, max: 8, grow_after: 250ms, shrink_after: 1h}"
    found = settings(f"{{engine: ray, replicas: {replicas}}}").workers.replicas.bounds
    assert (found.least, found.most) == (2, 8)
    assert (found.grow_after_s, found.shrink_after_s) == (0.25, 3600.0)


@pytest.mark.parametrize("address", ["auto", "head.internal:6379", "10.0.0.1:6379", "[::1]:6379"])
def test_a_cluster_is_named_by_its_head(address: str) -> None:
    assert settings(f"{{engine: ray, address: '{address}'}}").workers.address == address


@pytest.mark.parametrize(
    ("workers", "words"),
    [
        ("{engine: roy}", "6:23: workers.engine: 'roy' is not one of the values; did you mean"),
        ("{replicas: {min: 2}}", "6:14: workers.engine: is required"),
        ("{engine: ray, gpu: 1}", "6:28: workers.gpu: unknown key; did you mean gpus?"),
        ("{engine: ray, gpus: -1}", "6:34: workers.gpus: must be at least 0; found -1"),
        ("{engine: ray, gpus: 1.5}", "6:28: workers.gpus: more than one GPU must be a whole"),
        ("{engine: ray, address: there}", "6:28: workers.address: expected auto, or the"),
        ("{engine: ray, address: 'ray://a:1'}", "6:28: workers.address: expected auto, or the"),
        ("{engine: ray, replicas: {min: 0}}", "6:44: workers.replicas.min: must be at least 1"),
        (
            "{engine: ray, replicas: {min: 3, max: 2}}",
            "6:47: workers.replicas.max: must be at least min, which is 3; found 2",
        ),
        (
            "{engine: ray, replicas: {shrink_after: soon}}",
            "6:53: workers.replicas.shrink_after: 'soon' is not a duration",
        ),
        ("many", "6:14: workers: expected a whole number; found a string"),
        ("0", "6:14: workers: must be at least 1; found 0"),
    ],
)
def test_what_makes_no_sense_is_refused_where_it_stands(workers: str, words: str) -> None:
    assert said(workers).startswith(words)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ("device: cuda:0", "device: Ray says which GPUs a worker sees: expected auto or cpu"),
        ("standby: loaded", "standby: there are no spares in a cluster; give it more replicas"),
    ],
)
def test_what_ray_decides_is_not_said_beside_it(more: str, words: str) -> None:
    assert words in said("{engine: ray}", more)
