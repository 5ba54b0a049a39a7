"""Which policy a command takes where none is named, and where its relative paths begin."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import pytest

from gateway.cli.policy_file import config_path, home_of
from gateway.cli.shared import AnySecret
from gateway.policy.reader import load_policy
from tests.gateway.cli.shells import POLICY, Shell

NEAR = ("spillgate.yaml", "config/default.yaml")


def make(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.mark.parametrize(
    ("given", "variable", "there", "taken"),
    [
        ("a.yaml", "b.yaml", NEAR, "a.yaml"),
        ("", "b.yaml", NEAR, "b.yaml"),
        ("", "", NEAR, "spillgate.yaml"),
        ("", "", NEAR[1:], "config/default.yaml"),
    ],
    ids=["named", "by the variable", "in the folder", "in its config"],
)
def test_the_first_policy_that_is_there_is_taken(
    given: str, variable: str, there: Sequence[str], taken: str, here: Path
) -> None:
    make(here, *there)
    environ = {"SPILLGATE_CONFIG": variable} if variable else {}
    assert config_path(given, environ) == Path(taken)


def test_where_there_is_none_it_says_what_to_do(here: Path) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=r"--config PATH.*spillgate init"):
        config_path("", {})


def test_a_command_without_a_policy_ends_with_2(shell: Shell, here: Path) -> None:
    shell("keys", "list", status=2)
    assert "SPILLGATE_CONFIG is not set" in shell.error


def test_a_command_takes_the_policy_of_the_folder(shell: Shell, here: Path) -> None:
    (here / "spillgate.yaml").write_text(POLICY.format(folder=here / "data"))
    assert shell.json("keys", "list", "--json") == []
    assert shell("check", "--without-secrets").startswith("valid: ")


HOMES = {
    # what there is, where the policy lies, where one is, where its paths begin
    "in the folder": ([], "home/p.yaml", "home", "home"),
    "in a folder of it": ([], "home/config/p.yaml", "home", "home"),
    "from elsewhere": ([], "home/p.yaml", "else", "home"),
    "from the root": ([], "home/config/p.yaml", ".", "home/config"),
    "the data is there": (["home/.spillgate/keys.db"], "home/config/p.yaml", "else", "home"),
    "the data is here": (["else/.spillgate/keys.db"], "home/config/p.yaml", "else", "else"),
    "both have data": (
        ["else/.spillgate/keys.db", "home/.spillgate/tls/ca.pem"],
        "home/p.yaml",
        "else",
        "home",
    ),
    "the app is here": (["else/examples/embeddings.py"], "home/p.yaml", "else", "else"),
    "the app is above": (["home/examples/embeddings.py"], "home/config/p.yaml", "else", "home"),
}


@pytest.mark.parametrize("case", HOMES)
def test_relative_paths_begin_where_the_policy_is_at_home(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there, file, start, home = HOMES[case]
    make(tmp_path, "else/x", "home/config/x", *there)
    path = tmp_path / file
    path.write_text(POLICY.format(folder=".spillgate"))
    monkeypatch.chdir(tmp_path / start)
    policy = load_policy(path, AnySecret({}))
    assert home_of(policy, path).resolve() == (tmp_path / home).resolve()
