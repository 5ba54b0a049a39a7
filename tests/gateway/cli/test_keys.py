"""``spillgate keys``: what is made, what is shown of it, and what never is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gateway.clock import FakeClock, SystemClock
from gateway.storage.sqlite.keys import SqliteKeys
from gateway.types import Principal
from tests.gateway.cli.shells import POLICY, Shell


def test_a_key_is_made_found_rotated_and_revoked(config: str, shell: Shell, tmp_path: Path) -> None:
    made = shell.json(
        "keys", "create", "--config", config, "--user", "alice", "--plan", "gold", "--json",
        "--tag", "team=search", "--limit", "spend=1 USD/day", "--limit", "concurrent=2",
    )  # fmt: skip
    assert re.fullmatch(r"sg-[A-Za-z0-9]{40}", made["key"])
    assert (made["user"], made["plan"], made["tags"]) == ("alice", "gold", {"team": "search"})
    assert made["limits"] == {"spend": "1 USD/day", "concurrent": 2}
    heads, listed = shell("keys", "list", "--config", config).splitlines()
    assert heads.split() == [
        "id", "key", "role", "state", "user", "plan", "limits", "permitted",
        "USD", "this", "month", "expires", "last", "used", "tags",
    ]  # fmt: skip
    assert made["id"] in listed
    assert "spend 1 USD/day, concurrent 2" in listed
    assert made["key"] not in listed
    keys = SqliteKeys(tmp_path / "data" / "keys.db", clock=SystemClock())
    principal = keys.find(made["key"])
    assert principal is not None
    assert len(principal.limits) == 2
    rotated = shell.json("keys", "rotate", "--config", config, made["id"], "--json")
    assert keys.find(made["key"]) is None
    assert keys.find(rotated["key"]) is not None
    shell("keys", "revoke", "--config", config, rotated["id"])
    assert keys.find(rotated["key"]) is None
    keys.close()
    states = {row["id"]: row["revoked_at"] for row in shell.json("keys", "list", "--config", config, "--json")}  # fmt: skip  # noqa: E501
    assert states[rotated["id"]] is not None


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["create", "--user", "a b"], "1 to 128"),
        (["create", "--user", "a", "--plan", "silver"], "default, gold"),
        (["create", "--user", "a", "--tag", "team"], "NAME=VALUE"),
        (["create", "--user", "a", "--limit", "spend=lots"], "lots"),
        (["create", "--user", "a", "--expires-in", "soon"], "soon"),
        (["create", "--user", "a", "--model", "gpt"], "there is no model 'gpt'"),
        (["create", "--user", "a", "--path", "/v2"], "no route has the path '/v2'"),
        (["create", "--user", "a", "--address", "10.0.0.1/8"], "write 10.0.0.0/8"),
        (["revoke", "key_nobody"], "keys list"),
        (["rotate", "key_nobody"], "key_nobody"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_key_that_cannot_be_had_is_explained(
    arguments: list[str], says: str, config: str, shell: Shell
) -> None:
    shell("keys", arguments[0], "--config", config, *arguments[1:], status=2)
    assert says in shell.error
    assert "Traceback" not in shell.error


@pytest.mark.parametrize("action", ["revoke", "rotate"])
def test_a_whole_key_in_the_place_of_its_id_is_not_repeated(
    action: str, config: str, shell: Shell
) -> None:
    key = f"sg-{'S3cretKey9' * 4}"
    shell("keys", action, "--config", config, key, status=2)
    assert "key_..." in shell.error
    assert "S3cret" not in shell.error


def test_a_key_that_is_over_is_listed_as_expired(config: str, shell: Shell, tmp_path: Path) -> None:
    """And one that is made says its plan, limits and end in its line."""
    create = ["keys", "create", "--config", config, "--user", "a", "--expires-in"]
    said = shell(*create, "1d", "--limit", "spend=2 USD/day")
    assert "plan default, spend 2 USD/day, expires 20" in said
    clock = FakeClock(SystemClock().time() - 7_200)
    keys = SqliteKeys(tmp_path / "data" / "keys.db", clock=clock)
    keys.create(Principal(key_id="key_old", user="b"), "sg-old", expires_at=clock.time() + 60)
    keys.close()
    listed = shell("keys", "list", "--config", config).splitlines()
    assert [line.split()[3] for line in listed[1:]] == ["expired", "active"]


def test_from_another_folder_a_command_finds_the_data_that_the_gateway_has(
    shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Relative paths are those of the folder in which the gateway was started."""
    home, elsewhere = tmp_path / "home", tmp_path / "elsewhere"
    (home / "config").mkdir(parents=True)
    elsewhere.mkdir()
    config = home / "config" / "policy.yaml"
    config.write_text(POLICY.format(folder=".spillgate"))
    monkeypatch.chdir(home)
    made = shell.json("keys", "create", "--config", str(config), "--user", "a", "--json")
    monkeypatch.chdir(elsewhere)
    [listed] = shell.json("keys", "list", "--config", str(config), "--json")
    assert listed["id"] == made["id"]
    assert shell.json("usage", "--config", str(config), "--calls", "--json")["data"] == []
    assert list(elsewhere.iterdir()) == []


def test_commands_leave_who_gave_them_in_the_audit_log(config: str, shell: Shell) -> None:
    made = shell.json("keys", "create", "--config", config, "--user", "a", "--json")
    shell("keys", "rotate", "--config", config, made["id"], "--grace", "1h")
    shell("keys", "revoke", "--config", config, made["id"])
    told = shell.json("audit", "--config", config, "--json")
    acts = [(one["act"], one["target"], one["outcome"]) for one in told["data"]]
    names = ("key.revoke", "key.rotate", "key.create")
    assert acts == [(name, made["id"], "done") for name in names]
    assert all(one["actor"].startswith("os:") for one in told["data"])
    assert told["data"][1]["details"] == {"grace": "1h"}
    assert "key.rotate" in shell("audit", "--config", config, "--act", "key.rotate")
    shell("audit", "--config", config, "--limit", "none", status=2)
    assert "whole number" in shell.error


def test_several_limits_of_one_unit_hold_together(config: str, shell: Shell) -> None:
    """None of them is forgotten for the last one."""
    asked = ["--user", "a", "--limit", "spend=1 USD/day", "--limit", "spend=9 USD/month"]
    made = shell.json("keys", "create", "--config", config, *asked, "--json")
    assert made["limits"] == {"spend": ["1 USD/day", "9 USD/month"]}
    assert "spend 1 USD/day, spend 9 USD/month" in shell("keys", "list", "--config", config)


def test_a_tag_has_one_value(config: str, shell: Shell) -> None:
    asked = ["--user", "a", "--tag", "team=a", "--tag", "team=b"]
    shell("keys", "create", "--config", config, *asked, status=2)
    assert "a tag twice" in shell.error
