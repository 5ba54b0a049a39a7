"""What a first start prints can be pasted as it stands."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

from gateway.api.middleware import CONSOLE
from gateway.cli.serving.banner import FirstKeys, banner, first_keys, warn_of_unlimited
from gateway.clock import FakeClock
from gateway.keys.limited import makes_calls
from gateway.keys.permitted import check_request
from gateway.policy.model import Policy
from gateway.policy.reader import read_policy_text
from gateway.storage.sqlite.keys import SqliteKeys
from gateway.tls.files import TlsMaterial
from gateway.types import Limit, Principal


def serving(*tasks: str) -> Policy:
    models = ", ".join(
        f"m{n or ''}: {{task: {task}, backends: [b]}}" for n, task in enumerate(tasks)
    )
    backend = 'backends: {b: {kind: openai, base_url: "http://127.0.0.1:9"}}'
    return read_policy_text(f"version: 1\n{backend}\nmodels: {{{models}}}\n", {})


POLICY = serving("embeddings")
CONFIG = Path("/srv/gpus/spillgate.yaml")
FILES = TlsMaterial(ca=Path("/data/ca.pem"), cert=Path("/data/c.pem"), key=Path("/data/c.pem"))


@pytest.mark.parametrize(
    "keys",
    [FirstKeys("sg-a", "sg-u"), FirstKeys("sg-a", None), None],
    ids=["first", "first without limits", "later"],
)
@pytest.mark.parametrize("material", [FILES, None], ids=["tls", "plain"])
@pytest.mark.parametrize("task", ["embeddings", "chat", "completions"])
def test_the_snippet_is_python_as_it_is_printed(
    task: str, material: TlsMaterial | None, keys: FirstKeys | None
) -> None:
    said = banner(serving("infer", task), material, keys, CONFIG)
    _, _, snippet = said.partition("(pip install openai):\n")
    compile(snippet, "pasted", "exec")
    assert snippet.count("client") == 2
    assert ("os." in snippet) == ("import os\n" in snippet)


@pytest.mark.parametrize(
    ("task", "path", "member"),
    [
        ("embeddings", "/v1/embeddings", "input"),
        ("chat", "/v1/chat/completions", "messages"),
        ("completions", "/v1/completions", "prompt"),
        ("infer", "/v1/infer/m", None),
    ],
)
def test_curl_asks_what_the_policy_serves(task: str, path: str, member: str | None) -> None:
    said = banner(serving(task), FILES, FirstKeys("sg-a", "sg-u"), CONFIG)
    [line] = [line for line in said.splitlines() if line.startswith("  curl ")]
    words = shlex.split(line)
    assert words[4] == f"https://127.0.0.1:8443{path}"
    body = json.loads(words[-1])
    assert body == {} if member is None else (body["model"], member in body) == ("m", True)


def test_keys_of_a_first_start_are_shown_once() -> None:
    assert "sg-a" in banner(POLICY, FILES, FirstKeys("sg-a", "sg-u"), CONFIG)
    assert "Keys were shown when they were made" in banner(POLICY, FILES, None, CONFIG)


def test_a_policy_that_limits_nobody_gives_an_admin_who_makes_no_calls(
    tmp_path: Path, clock: FakeClock
) -> None:
    keys = SqliteKeys(tmp_path / "keys.db", clock=clock)
    made = first_keys(keys, POLICY, clock.time())
    [record] = keys.list()
    keys.close()
    assert made is not None
    assert made.user is None
    assert record.principal.role == "admin"
    assert not makes_calls(record.principal.permitted)
    assert record.principal.permitted is not None
    for page in (CONSOLE, f"{CONSOLE}/spend"):
        check_request(record.principal.permitted, page, "127.0.0.1")
    said = banner(POLICY, None, made, CONFIG)
    assert made.admin in said
    assert "a plan called default" in said


def test_keys_that_nothing_limits_are_named_at_a_start(
    tmp_path: Path, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Those that are over are not."""
    keys = SqliteKeys(tmp_path / "keys.db", clock=clock)
    keys.create(Principal(key_id="key_old", user="a"), "sg-1")
    keys.create(Principal(key_id="key_gone", user="a"), "sg-2")
    keys.create(Principal(key_id="key_over", user="a"), "sg-3", expires_at=clock.time())
    keys.create(Principal(key_id="key_ok", user="a", limits=(Limit("concurrent", 1),)), "sg-4")
    keys.revoke("key_gone")
    warn_of_unlimited(keys, POLICY, clock.time())
    keys.close()
    [line] = [one.getMessage() for one in caplog.records]
    assert "what 1 key may spend: key_old;" in line


def test_it_says_what_is_served_and_where_everything_is() -> None:
    said = banner(POLICY, None, None, CONFIG)
    for told in (
        "m (embeddings)",
        str(CONFIG),
        POLICY.version,
        ".spillgate",
        "/dashboard",
        "/docs",
    ):
        assert told in said
    assert f"--config '{CONFIG}'" in said
