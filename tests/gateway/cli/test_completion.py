"""What a shell is told completes commands, what they may be told to do, options and values."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from gateway.cli import COMMANDS
from tests.gateway.cli.shells import Shell

COMPLETES = """
{script}
COMP_WORDS=({words})
COMP_CWORD={at}
_spillgate
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


def completed(script: str, words: Sequence[str]) -> list[str]:
    """What bash would offer for the last word."""
    given = " ".join(f"'{word}'" for word in words)
    text = COMPLETES.format(script=script, words=given, at=len(words) - 1)
    done = subprocess.run(
        ["bash", "--norc", "-c", text], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["ke"], ["keys"]),
        (["--v"], ["--version"]),
        (["keys", "r"], ["revoke", "rotate"]),
        (["keys", "create", "--lim"], ["--limit"]),
        (["usage", "--gr"], ["--group-by"]),
        (["usage", "--format", "focus-"], ["focus-commitments"]),
        (["completion", "f"], ["fish"]),
        (["keys", "create", "--user", "--l"], ["--limit"]),
    ],
    ids=" ".join,
)
def test_bash_offers_what_may_follow(words: list[str], offered: list[str], shell: Shell) -> None:
    assert completed(shell("completion", "bash"), ["spillgate", *words]) == offered


def test_a_file_is_offered_after_an_option_that_takes_one(
    shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = shell("completion", "bash")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").touch()
    assert completed(script, ["spillgate", "serve", "--config", "m"]) == ["mine.yaml"]


def test_zsh_reads_the_same_by_its_own_words_for_it(shell: Shell) -> None:
    bash, zsh = shell("completion", "bash"), shell("completion", "zsh")
    assert zsh.endswith(bash)
    assert "bashcompinit" in zsh


def test_every_line_for_fish_is_whole(shell: Shell) -> None:
    """Fish is not everywhere: the quotes of each line are counted as fish counts them."""
    lines = shell("completion", "fish").splitlines()
    assert all(line.startswith("complete -c spillgate ") for line in lines)
    open_ones = [line for line in lines if len(re.findall(r"(?<!\\)'", line)) % 2]
    assert open_ones == []
    assert {name for name in COMMANDS if f"-a {name} " not in "\n".join(lines)} == set()


def test_a_shell_that_is_not_known_is_refused(shell: Shell) -> None:
    shell("completion", "tcsh", status=2)
    assert "bash" in shell.error
