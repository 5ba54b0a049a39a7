"""What serves is a copy: a file that is being edited is nobody's policy."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.policy.model import Policy
from gateway.policy.reader import load_policy
from gateway.policy.syntax.problems import PolicyError
from gateway.processes.snapshots import PolicySnapshots

ONE = "version: 1\nbackends: {b: {kind: local, sockets: /run/x}}\n"
MODELS = "models: {m: {task: chat, backends: [b]}}\n"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A folder of which the files are one policy."""
    folder = tmp_path / "policy"
    folder.mkdir()
    (folder / "backends.yaml").write_text(ONE)
    (folder / "models.yml").write_text(MODELS)
    return folder


@pytest.fixture
def snapshots(source: Path) -> Iterator[PolicySnapshots]:
    made = PolicySnapshots(source)
    yield made
    made.close()
    assert not made.current.parent.exists()


def load(path: Path) -> Policy:
    return load_policy(path, {})


def test_what_is_in_force_stays_while_its_files_change(
    source: Path, snapshots: PolicySnapshots
) -> None:
    policy, copy = snapshots.take(load)
    assert snapshots.put_in_force(copy) is None
    (source / "models.yml").write_text("models: {")
    assert load(snapshots.current).version == policy.version


def test_another_takes_its_place_and_it_can_return(
    source: Path, snapshots: PolicySnapshots
) -> None:
    first, copy = snapshots.take(load)
    snapshots.put_in_force(copy)
    (source / "models.yml").write_text(MODELS.replace("chat", "infer"))
    second, later = snapshots.take(load)
    assert second.version != first.version
    before = snapshots.put_in_force(later)
    assert load(snapshots.current).version == second.version
    assert before == copy
    snapshots.put_in_force(before)
    assert load(snapshots.current).version == first.version


def test_a_problem_is_told_in_the_users_file(source: Path, snapshots: PolicySnapshots) -> None:
    (source / "models.yml").write_text(MODELS.replace("chat", "guess"))
    with pytest.raises(PolicyError, match=str(source / "models.yml")):
        snapshots.take(load)
