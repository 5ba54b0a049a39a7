"""Models that share the memory of a ``kind: local`` backend: what a policy may say of them."""

from __future__ import annotations

import pytest

from gateway.policy.reader import read_policy_text
from gateway.policy.syntax.problems import PolicyError

POLICY = """version: 1
backends:
  home:
    kind: local
    app: a.py:app
    memory: 24GiB
    models:
      a: {memory: %s}
      b.c: {memory: %s}
models:
  a: {task: infer, backends: [home]}
"""


def said(first: str, second: str) -> str:
    with pytest.raises(PolicyError) as caught:
        read_policy_text(POLICY % (first, second), {}, "p.yaml")
    return str(caught.value)


def test_models_that_can_be_there_in_turn_are_taken() -> None:
    """Together they are too large, and that is what sharing is for."""
    policy = read_policy_text(POLICY % ("20GiB", "4GiB, pin: true"), {})
    models = policy.backends["home"].settings.models
    assert [(name, one.memory >> 30, one.pin) for name, one in models.items()] == [
        ("a", 20, False),
        ("b.c", 4, True),
    ]


def test_a_model_larger_than_the_memory_is_refused_where_it_says_so() -> None:
    assert said("30GiB", "1GiB") == (
        "p.yaml:8:11: backends.home.models.a.memory: 30 GiB cannot fit in a memory of 24 GiB"
    )


def test_pins_that_do_not_fit_together_are_refused_at_the_one_too_many() -> None:
    assert said("20GiB, pin: true", "5GiB, pin: true") == (
        "p.yaml:9:27: backends.home.models.b.c.pin: with it the pinned models take 25 GiB of 24 GiB"
    )


def test_a_model_that_the_pinned_ones_leave_no_room_for_is_refused() -> None:
    assert said("8GiB", "20GiB, pin: true") == (
        "p.yaml:8:11: backends.home.models.a.memory: "
        "8 GiB cannot fit: the pinned models leave 4 GiB"
    )


def test_a_model_without_a_size_is_refused_and_so_is_one_of_no_size() -> None:
    path = "backends.home.models.a.memory"
    assert said("1GiB", "1GiB}\n      d: {pin: true").endswith("models.d.memory: is required")
    assert said("0", "1GiB") == f"p.yaml:8:19: {path}: must be more than 0; found 0"


def test_without_a_memory_nothing_is_known_and_nothing_refused() -> None:
    """What is free on the device is seen when the worker starts."""
    text = POLICY.replace("    memory: 24GiB\n", "") % ("900GiB", "900GiB, pin: true")
    assert read_policy_text(text, {}).backends["home"].settings.memory is None
