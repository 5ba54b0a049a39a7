"""The command line: help with an example, JSON that parses, and an exit status that can be used."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import pytest

from gateway.cli import COMMANDS
from gateway.cli.parsers import usages
from gateway.clock import SystemClock
from gateway.storage.base import LedgerRow
from gateway.storage.sqlite.ledger import SqliteLedger
from gateway.warm.kept import FILE, FileKept
from tests.gateway.cli.gateways import stand_in
from tests.gateway.cli.shells import Shell

# --- all of them ------------------------------------------------------------------------------


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_every_command_ends_with_an_example_of_itself(
    command: str, shell: Shell
) -> None:
    text = shell(command, "--help")
    example = text.partition("example:")[2].strip()
    assert re.match(rf"(SPILLGATE_KEY=\S+ )?spillgate {command}( |$)", example)


def test_all_that_may_be_typed_has_an_example_and_json_where_it_tells_something() -> None:
    told = [one for name, each in COMMANDS.items() for one in usages(name, *each)]
    for one in told:
        if one.actions:
            continue
        assert one.example.removeprefix("SPILLGATE_KEY=sg-... ").startswith(
            f"spillgate {' '.join(one.words)}"
        ), one.words
        names = {name for option in one.options for name in option.names}
        assert " ".join(one.words) in SAYS_NOTHING or "--json" in names, one.words


SAYS_NOTHING = {"serve", "package", "completion", "webhooks secret"}
"""They run, write files, or print one line for a program to read."""


def test_the_help_names_every_command(shell: Shell) -> None:
    text = shell("--help")
    assert all(
        name in text and what.about in " ".join(text.split()) for name, what in COMMANDS.items()
    )


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["fly"],
        ["keys"],
        ["keys", "create"],
        ["explain", "--config", "x"],
        ["usage", "--config", "/nowhere.yaml"],
        ["keys", "list", "--config", "/nowhere.yaml"],
        ["serve", "--config", "/nowhere.yaml"],
    ],
    ids=" ".join,
)
def test_what_was_asked_wrongly_ends_with_2_and_says_why(
    arguments: list[str], shell: Shell
) -> None:
    assert shell(*arguments, status=2) == ""
    assert shell.error


# --- check ------------------------------------------------------------------------------------


def test_a_policy_that_is_valid_is_told_so(
    config: str, shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOT_SET_ANYWHERE", "it is now")
    assert "1 model, 2 backends" in shell("check", config)
    found = shell.json("check", config, "--json")
    assert (found["valid"], found["problems"]) == (True, [])
    assert re.fullmatch("[0-9a-f]{12}", found["policy"])


def test_a_secret_that_is_not_set_is_an_error_that_names_it(config: str, shell: Shell) -> None:
    """Place and name are told; a machine that only checks may say that it has no secrets."""
    shell("check", config, status=2)
    assert "policy.yaml:7:" in shell.error
    assert "NOT_SET_ANYWHERE is not set" in shell.error
    assert "1 model, 2 backends" in shell("check", config, "--without-secrets")
    [problem] = shell.json("check", config, "--json", status=2)["problems"]
    assert problem["key"] == "backends.burst.api_key"


def test_a_problem_beside_a_secret_that_is_not_set_is_still_one(config: str, shell: Shell) -> None:
    Path(config).write_text(Path(config).read_text() + "colour: red\n")
    found = shell.json("check", config, "--json", status=2)
    assert {row["key"] for row in found["problems"]} == {"backends.burst.api_key", "colour"}


def test_a_problem_is_told_with_its_place_and_ends_with_2(shell: Shell, tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text("version: 1\nbackend: {}\n")
    shell("check", str(path), status=2)
    assert "bad.yaml:2:1" in shell.error
    [problem] = shell.json("check", str(path), "--json", status=2)["problems"]
    assert (problem["line"], problem["column"], problem["key"]) == (2, 1, "backend")


def test_a_warning_counts_where_one_asks_for_it(shell: Shell, tmp_path: Path) -> None:
    """A price of long ago is a warning."""
    path = tmp_path / "old.yaml"
    path.write_text(
        "version: 1\n"
        "backends: {home: {kind: local, app: 'examples/embeddings.py:app', price: old}}\n"
        "models: {m: {task: chat, backends: [home]}}\n"
        "prices: {old: {per_hour: 1, as_of: 2001-01-01, source: x}}\n"
    )
    shell("check", str(path))
    assert "warning:" in shell.error
    shell("check", str(path), "--strict", status=1)
    assert shell.json("check", str(path), "--json")["warnings"]


def test_workers_that_platforms_were_told_to_keep_are_shown(
    config: str, shell: Shell, tmp_path: Path
) -> None:
    """And those that nothing asks for any more are a warning."""
    FileKept(tmp_path / "data" / FILE).write({"burst": 1, "gone": 2})
    said = shell("check", config, "--without-secrets")
    assert "backend burst: its platform was told to keep 1 workers" in said
    assert "backends.gone: its platform was told to keep 2 workers" in shell.error
    assert "a start of the gateway takes that back" in shell.error
    assert shell.json("check", config, "--without-secrets", "--json")["kept_workers"] == {
        "burst": 1,
        "gone": 2,
    }


# --- usage ------------------------------------------------------------------------------------


@pytest.fixture
def spent(config: str, tmp_path: Path) -> str:
    """Two calls in the ledger."""

    async def write() -> None:
        ledger = SqliteLedger(tmp_path / "data" / "ledger.db")
        row = LedgerRow(
            id="r1", outcome="success", started_at=SystemClock().time() - 60, ended_at=1.0,
            key_id="k", user="alice", model="m", task="chat", backend="home", cost_nano=1_500_000,
        )  # fmt: skip
        await ledger.settle([row])
        await ledger.aclose()

    asyncio.run(write())
    return config


@pytest.mark.parametrize(
    "form", [["--json"], ["--format", "csv"], []], ids=["json", "csv", "table"]
)
def test_usage_is_told_in_every_form(form: list[str], spent: str, shell: Shell) -> None:
    text = shell("usage", "--config", spent, "--group-by", "user,model", "--from", "1d", *form)
    assert "alice" in text
    assert "0.0015" in text
    if form == ["--json"]:
        assert json.loads(text)


@pytest.mark.parametrize(
    ("option", "says"),
    [
        (["--group-by", "colour"], "colour"),
        (["--from", "yesterday-ish"], "from is a date"),
        (["--where", "user"], "NAME=VALUE"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_a_report_that_cannot_be_made_is_explained(
    option: list[str], says: str, spent: str, shell: Shell
) -> None:
    shell("usage", "--config", spent, *option, status=2)
    assert says in shell.error


def test_single_calls_are_told_page_by_page(spent: str, shell: Shell) -> None:
    heads, row = shell("usage", "--config", spent, "--calls", "--from", "1d").splitlines()
    assert heads.split()[:3] == ["began", "id", "user"]
    assert row.split()[1:6] == ["r1", "alice", "m", "home", "success"]
    told = shell.json("usage", "--config", spent, "--calls", "--json", "--where", "user=alice")
    assert ([call["id"] for call in told["data"]], told["next"]) == (["r1"], None)
    shell("usage", "--config", spent, "--calls", "--where", "outcome=bad", status=2)
    assert "outcome is one of success, error" in shell.error


# --- explain ----------------------------------------------------------------------------------

DECISION: dict[str, Any] = {
    "backend": "burst",
    "reason": "COLD_OK",
    "route": "default",
    "slo_seconds": 2.0,
    "policy": "0123456789ab",
    "candidates": [
        {
            "backend": "burst",
            "predicted_delay_seconds": 1.25,
            "cold_start": True,
            "predicted_load_seconds": 0.0,
            "predicted_price_usd": 0.001,
            "hold_usd": 0.002,
        }
    ],
    "refused": [{"backend": "home", "reason": "not_ready"}],
}


def explain(config: str, url: str, *more: str) -> list[str]:
    return ["explain", "--config", config, "--model", "m", "--key", "sg-x", "--url", url, *more]


def test_explain_shows_each_candidate_and_each_refusal(config: str, shell: Shell) -> None:
    with stand_in() as gateway:
        gateway.answers(DECISION)
        text = shell(
            *explain(config, gateway.url, "--max-tokens", "7", "--priority", "low", "--stream")
        )
        assert "burst" in text.splitlines()[0]
        assert "delay 1.250 s (cold start), price $0.001000" in text
        assert "home" in text
        assert "not_ready" in text
        assert gateway.path == "/v1/route/explain"
        assert gateway.body == {"model": "m", "stream": True, "max_tokens": 7}
        assert gateway.headers["Authorization"] == "Bearer sg-x"
        assert gateway.headers["X-Spillgate-Priority"] == "low"
        assert shell.json(*explain(config, gateway.url, "--json")) == DECISION


def test_explain_tells_what_the_keys_limits_and_a_backends_state_make_of_it(
    config: str, shell: Shell
) -> None:
    last = {**DECISION["candidates"][0], "backend": "own", "last_resort": "not_ready"}
    dear = {"backend": "dear", "reason": "budget_exhausted", "message": "Your key has 1 USD left."}
    limit = {"status": 429, "code": "rate_limit_exceeded", "message": "Try again in 3 seconds."}
    with stand_in() as gateway:
        gateway.answers(
            {
                **DECISION,
                "candidates": [last],
                "refused": [dear],
                "output_bound": 77,
                "would_be_refused": [limit],
            }
        )
        text = shell(*explain(config, gateway.url))
        assert "hold $0.002000, asked last: not_ready" in text
        assert "not asked: budget_exhausted: Your key has 1 USD left." in text
        assert "at most 77 tokens" in text
        assert "would be refused now: 429 rate_limit_exceeded: Try again in 3 seconds." in text


def test_explain_tells_a_load_from_a_start(config: str, shell: Shell) -> None:
    row = {**DECISION["candidates"][0], "predicted_load_seconds": 0.5}
    with stand_in() as gateway:
        gateway.answers({**DECISION, "candidates": [row]})
        text = shell(*explain(config, gateway.url))
        assert "delay 1.250 s (with 0.500 s to load the model), price" in text


def test_explain_ends_with_1_where_no_backend_would_be_asked(config: str, shell: Shell) -> None:
    with stand_in() as gateway:
        gateway.answers({**DECISION, "backend": None, "candidates": []})
        assert shell(*explain(config, gateway.url), status=1).startswith("no backend")


def test_explain_passes_on_what_the_gateway_says(config: str, shell: Shell) -> None:
    with stand_in() as gateway:
        gateway.answers({"error": {"message": "There is no model 'm' here."}}, 404)
        shell(*explain(config, gateway.url), status=2)
        assert "There is no model 'm' here." in shell.error
        gateway.status, gateway.answer = 502, b"<html>"
        shell(*explain(config, gateway.url), status=2)
        assert "502" in shell.error


def test_explain_says_that_nobody_answers_and_asks_for_a_key(config: str, shell: Shell) -> None:
    shell("explain", "--config", config, "--model", "m", "--key", "sg-x", status=2)
    assert "is the gateway running?" in shell.error
    shell("explain", "--config", config, "--model", "m", "--key", "", status=2)
    assert "SPILLGATE_KEY" in shell.error
