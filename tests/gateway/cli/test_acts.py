"""Every command that changes something is in the audit log; none is done that cannot be there."""

from __future__ import annotations

import argparse
import datetime
import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.cli import COMMANDS
from gateway.cli.acts import ACTS
from tests.gateway.cli.shells import POLICY, Shell

WEBHOOKS = """
webhooks: {endpoints: {ops: {url: "https://ops.example.com/", secret: "${OPS}", events: [usage]}}}
"""
BILL = "start,end,usd\n{day}T00:00:00Z,{next}T00:00:00Z,1.00\n"
READS = {
    ("keys", "list"), ("webhooks", "secret"), ("webhooks", "list"), ("webhooks", "deliveries"),
    ("serve", ""),  # what its signals do is told by itself
    ("replay", ""),
    ("advise", ""),
    ("tune", ""),
    ("package", ""),  # writes files of whoever runs it
    *((command, "") for command in ("completion", "init", "doctor", "backup")),
    *(("policy", name) for name in ("show", "diff", "history")),
    *((command, "") for command in ("status", "top", "calls", "schedules")),
    ("backends", "list"),
    *(("batch", name) for name in ("run", "list", "show", "cancel")),  # calls, by a user's key
    *((command, "") for command in ("check", "audit", "usage", "explain", "prices", "probe")),
}  # fmt: skip
"""What changes nothing that a gateway keeps."""
OPTIONS = {("usage", "--book")}
"""What an option makes an act."""


def actions() -> Iterator[tuple[str, str]]:
    """Every command, and what those that have several actions may be told to do."""
    for command, what in COMMANDS.items():
        module: Any = importlib.import_module(f"gateway.cli.{what.module}")
        parser = module._parser() if hasattr(module, "_parser") else argparse.ArgumentParser()
        names = [
            name
            for action in parser._actions
            if isinstance(action, argparse._SubParsersAction)
            for name in action.choices
        ]
        yield from ((command, name) for name in names or [""])


NOTED_ELSEWHERE = {
    ("restore", ""),  # in the log that it brings back
    ("backends", "drain"),
    ("backends", "enable"),
    ("backends", "ping"),
    ("policy", "apply"),
    ("policy", "rollback"),
}
"""Of the rest the running gateway is asked, which leaves the entry itself."""


def test_whatever_changes_something_is_an_act() -> None:
    assert set(actions()) - READS - NOTED_ELSEWHERE == set(ACTS) - OPTIONS
    assert set(actions()) >= READS


@pytest.fixture
def policy(tmp_path: Path) -> str:
    path = tmp_path / "policy.yaml"
    path.write_text(POLICY.format(folder=tmp_path / "data") + WEBHOOKS)
    day = datetime.datetime.now(datetime.UTC).date() - datetime.timedelta(days=2)
    bill = BILL.format(day=day, next=day + datetime.timedelta(days=1))
    (tmp_path / "bill.csv").write_text(bill)
    return str(path)


RUN: dict[tuple[str, str], list[str]] = {
    ("keys", "create"): ["--user", "bob"],
    ("keys", "revoke"): ["KEY"],
    ("keys", "rotate"): ["KEY"],
    ("webhooks", "test"): ["ops"],
    ("webhooks", "redeliver"): ["ops", "--from", "1d"],
    ("webhooks", "enable"): ["ops"],
    ("usage", "--book"): ["--reconcile", "burst", "--bill", "BILL", "--book"],
}


def run(shell: Shell, act: tuple[str, str], policy: str, status: int = 0) -> str:
    """The act's command, for a key that is made for it; its id, where it is of a key."""
    command, action = act
    id = ""
    if "KEY" in RUN[act]:
        id = shell.json("keys", "create", "--config", policy, "--user", "a", "--json")["id"]
    given = {"KEY": id, "BILL": str(Path(policy).with_name("bill.csv"))}
    words = [given.get(word, word) for word in RUN[act]]
    verb = [] if action.startswith("--") else [action]
    shell(command, *verb, "--config", policy, *words, status=status)
    return id


@pytest.mark.parametrize("act", ACTS, ids=" ".join)
def test_an_act_leaves_who_did_it_to_what(act: tuple[str, str], policy: str, shell: Shell) -> None:
    key = run(shell, act, policy)
    told = shell.json("audit", "--config", policy, "--act", ACTS[act], "--json")["data"]
    entry = told[0]
    assert entry["outcome"] == "done"
    assert entry["actor"].startswith("os:")
    named = {"ops", "burst", key} if act != ("keys", "create") else {entry["target"]}
    assert entry["target"] in named
    begun = [one["outcome"] for one in told[1:]]
    assert begun == ([] if ACTS[act].startswith("key.") else ["begun"])


def test_what_is_refused_is_told_with_why(policy: str, shell: Shell) -> None:
    shell("webhooks", "test", "--config", policy, "nobody", status=2)
    told = shell.json("audit", "--config", policy, "--json")["data"]
    assert [(one["act"], one["outcome"]) for one in told] == [
        ("webhook.test", "refused: webhook_not_found"),
        ("webhook.test", "begun"),
    ]


@pytest.mark.parametrize("act", [act for act in ACTS if act[0] != "keys"], ids=" ".join)
def test_what_cannot_be_audited_is_not_done(
    act: tuple[str, str], policy: str, shell: Shell
) -> None:
    """The keys' file, where the log is, is none."""
    keys = Path(policy).parent / "data" / "keys.db"
    keys.parent.mkdir()
    keys.write_bytes(b"no database at all" * 100)
    run(shell, act, policy, status=2)
    assert str(keys) in shell.error
    assert not (keys.parent / "ledger.db").exists()
