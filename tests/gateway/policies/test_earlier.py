"""A roll-back returns to the policy before, and a second one to the one before that."""

from __future__ import annotations

import pytest

from gateway.policies.earlier import before
from gateway.storage.policies.base import NewChange

CASES = {
    "nothing is known": ([], "a", None),
    "it is the first": (["a"], "a", None),
    "one was applied": (["a", "b"], "b", "a"),
    "it was rolled back": (["a", "b", "<a"], "a", None),
    "two were, and one was rolled back": (["a", "b", "c", "<b"], "b", "a"),
    "twice": (["a", "b", "c", "<b", "<a"], "a", None),
    "rolled back to one long ago": (["a", "b", "c", "<a", "d"], "d", "a"),
    "to one from before what is looked back on": (["b", "<a", "c"], "c", "a"),
    "restarts change nothing": (["a", "a", "b", "b"], "b", "a"),
    "another gateway has other files": (["a", "x", "b", "y"], "b", "x"),
    "what is in force was never kept": (["a", "b"], "z", None),
}


@pytest.mark.parametrize("case", CASES)
def test_the_one_before_is_found(case: str) -> None:
    told, in_force, expected = CASES[case]
    changes = [
        NewChange(
            act="roll_back" if one.startswith("<") else "apply",
            version=one.removeprefix("<"),
            file="f",
        )
        for one in told
    ]
    assert before(in_force, changes) == expected
