"""Commands that read the ledger or the keys, where these are in a database."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.cli import main
from tests.live import free_port

COMMANDS = [["keys", "list"], ["usage"], ["keys", "create", "--user", "alice"]]


def policy(folder: Path, url: str) -> str:
    path = folder / "policy.yaml"
    path.write_text(
        f"version: 1\nserver: {{data: {folder}/data, tls: 'off'}}\nstore: {{ledger: '{url}'}}\n"
    )
    return str(path)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_password_that_is_not_set_is_told(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where no secret of a backend would matter."""
    path = policy(tmp_path, "postgresql://me:${SPILLGATE_NO_SUCH}@127.0.0.1:1/db")
    with pytest.raises(SystemExit) as ended:
        main([*command, "--config", path])
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert said == (
        "store.ledger: the environment variable SPILLGATE_NO_SUCH is not set: "
        "set it, or SPILLGATE_NO_SUCH_FILE to a file that has it\n"
    )


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_server_that_cannot_be_reached_is_told_in_one_line(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = policy(tmp_path, f"postgresql://me@127.0.0.1:{free_port()}/db")
    assert main([*command, "--config", path]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert "postgresql://127.0.0.1" in line
