"""A gateway elsewhere that cannot be asked is told by what is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.gateway.cli.shells import Shell

AWAY = "https://127.0.0.1:1"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--url", AWAY, "--key", "sg-a"], "refused"),
        (["--url", "nonsense", "--key", "sg-a"], "'http://' or 'https://'"),
        (["--url", AWAY, "--key", "\u043a\u043b\u044e\u0447"], "--key"),
        (["--url", AWAY, "--key", "sg-a", "--ca", "/nowhere.pem"], "--ca /nowhere.pem"),
        (["--url", AWAY], "SPILLGATE_ADMIN_KEY"),
    ],
    ids=["nobody there", "no url", "no key at all", "no such authority", "without a key"],
)
def test_what_keeps_it_from_being_asked_is_named(
    arguments: list[str], says: str, config: str, shell: Shell
) -> None:
    shell("status", "--config", config, *arguments, status=2)
    assert says in shell.error


def test_none_on_this_machine_is_told_with_how_to_start_one(config: str, shell: Shell) -> None:
    shell("status", "--config", config, status=2)
    assert "no gateway runs with its data in" in shell.error
    assert f"spillgate serve --config {config}" in shell.error


def test_a_socket_that_nobody_listens_at_is_told(config: str, shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "gateway.sock").touch()
    shell("status", "--config", config, status=2)
    assert "no gateway answers by" in shell.error
