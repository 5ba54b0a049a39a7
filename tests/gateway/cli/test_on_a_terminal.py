"""What is drawn for a person, and what goes plain into a pipe."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.cli.terminal import drawn
from tests.gateway.cli.shells import Shell

SPILLGATE = Path(sys.executable).with_name("spillgate")
COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def on_a_terminal(*arguments: str, **environ: str) -> str:
    """What a command prints where its output is a terminal."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [SPILLGATE, *arguments],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "120", **environ},
    )
    os.close(theirs)
    told = b""
    with os.fdopen(ours, "rb", buffering=0) as terminal:
        try:
            while piece := terminal.read(65536):
                told += piece
        except OSError:  # Linux says so when the other end is closed
            pass
    assert process.wait(60) == 0, told
    return told.decode().replace("\r\n", "\n")


@pytest.fixture
def two_keys(config: str, shell: Shell) -> str:
    shell("keys", "create", "--config", config, "--user", "alice")
    made = shell.json("keys", "create", "--config", config, "--user", "bob", "--json")
    shell("keys", "revoke", "--config", config, made["id"])
    return config


def test_a_terminal_has_colours_and_a_pipe_has_none(two_keys: str, shell: Shell) -> None:
    drawn_for_a_person = on_a_terminal("keys", "list", "--config", two_keys, COLUMNS="300")
    piped = shell("keys", "list", "--config", two_keys)
    assert COLOUR.search(drawn_for_a_person)
    assert "\x1b" not in piped
    for word in ("alice", "bob", "revoked", "active"):
        assert word in piped
        assert word in COLOUR.sub("", drawn_for_a_person)


@pytest.mark.parametrize(
    ("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")], ids=["NO_COLOR", "dumb"]
)
def test_whoever_wants_no_colours_gets_none(two_keys: str, name: str, value: str) -> None:
    told = on_a_terminal("keys", "list", "--config", two_keys, **{name: value})
    assert not re.search(r"\x1b\[[0-9;]*3[0-9]", told)
    assert "alice" in told


def test_json_is_json_on_a_terminal_too(two_keys: str) -> None:
    assert on_a_terminal("keys", "list", "--config", two_keys, "--json").startswith("[\n")


def test_figures_stand_to_the_right_and_words_to_the_left() -> None:
    lines = COLOUR.sub("", drawn(("who", "USD"), [("a", "1.50"), ("bcd", "12.25")], 40)).split("\n")
    rows = [line.rstrip() for line in lines if "." in line]
    assert len({len(row) for row in rows}) == 1
    assert rows[0].startswith(" a ")


@pytest.mark.parametrize("evil", ["[red]x[/red]", "[/]", "[link=x]y"])
def test_what_looks_like_markup_is_text(evil: str) -> None:
    assert evil in COLOUR.sub("", drawn(("name",), [(evil,)], 60))


def test_the_version_is_told() -> None:
    assert re.match(r"spillgate \S+ \(Python 3\.", on_a_terminal("--version"))


def test_a_watched_report_comes_again_until_ctrl_c(config: str) -> None:
    """Piped, one after the other."""
    process = subprocess.Popen(
        [SPILLGATE, "usage", "--config", config, "--watch", "0.1"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    heads = [process.stdout.readline() for _ in range(5)]
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert sum(head.startswith("user") for head in heads) >= 2
    assert (process.returncode, error) == (0, "")


def test_a_watch_is_of_sums(config: str, shell: Shell) -> None:
    shell("usage", "--config", config, "--watch", "--format", "csv", status=2)
    assert "--watch" in shell.error
    shell("usage", "--config", config, "--watch", "0", status=2)
    assert "0.1" in shell.error


def test_what_a_key_has_spent_stands_beside_it(two_keys: str, shell: Shell) -> None:
    listed = shell.json("keys", "list", "--config", two_keys, "--json")
    assert [one["spent_this_month_usd"] for one in listed] == [0.0, 0.0]
    assert "USD this month" in shell("keys", "list", "--config", two_keys)
