"""A key is changed where it stands; everything else stays as it was."""

from __future__ import annotations

import pytest
import yaml

from gateway.replay.policy_edits import difference, edited

BLOCK = """\
version: 1   # a comment
models:
  a:
    task: chat  # stays
    backends: [home, away]
  b: {task: infer, backends: [home]}
"""

EDITS = {
    "a value in a block": (BLOCK, ("models", "a", "backends"), "[home]"),
    "a value in a flow": (BLOCK, ("models", "b", "backends"), "[away]"),
    "a new key in a block": (BLOCK, ("models", "a", "slo"), "2s"),
    "a new key in a flow": (BLOCK, ("models", "b", "slo"), "2s"),
    "a new mapping in a block": (BLOCK, ("models", "c", "task"), "chat"),
    "a new mapping in a flow": (BLOCK, ("models", "b", "deep", "key"), "1"),
    "a new section": (BLOCK, ("warm_pool", "away", "keep"), "learned"),
    "a new section without a line's end": ("version: 1", ("warm_pool", "away", "keep"), "none"),
    "an empty flow": ("warm_pool: {}\n", ("warm_pool", "away", "keep"), "none"),
    "nothing at all": ("", ("warm_pool", "away", "keep"), "none"),
    "a whole mapping": (BLOCK, ("models", "a"), "{task: infer}"),
}


@pytest.mark.parametrize("name", EDITS)
def test_one_key_changes_and_no_other(name: str) -> None:
    text, path, value = EDITS[name]
    found = yaml.safe_load(edited(text, path, value))
    wanted = yaml.safe_load(text) or {}
    place = wanted
    for key in path[:-1]:
        place = place.setdefault(key, {})
    place[path[-1]] = yaml.safe_load(value)
    assert found == wanted


def test_comments_and_order_stay() -> None:
    found = edited(BLOCK, ("models", "a", "backends"), "[home]")
    assert found == BLOCK.replace("[home, away]", "[home]")
    lines = difference(BLOCK, found, "p.yaml").splitlines()
    changed = [line for line in lines if line[0] in "+-" and line[:3] not in ("+++", "---")]
    assert changed == ["-    backends: [home, away]", "+    backends: [home]"]
    assert difference(BLOCK, BLOCK, "p.yaml") == ""


def test_what_is_no_mapping_is_said() -> None:
    with pytest.raises(ValueError, match=r"version\.x: version is no mapping"):
        edited(BLOCK, ("version", "x"), "1")
