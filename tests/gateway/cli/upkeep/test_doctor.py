"""The doctor finds what is wrong and says what to do, and finds nothing where nothing is."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path
from typing import Any

import pytest

from tests.gateway.cli.shells import Shell
from tests.live import free_port

POLICY = """
version: 1
server: {{listen: "{listen}", tls: {tls}, data: {folder}}}
store: {{ledger: "sqlite:///{folder}/ledger.db", shared: "{shared}"}}
backends:
  home: {{kind: local, app: "examples/embeddings.py:app"}}
  {more}
models: {{m: {{task: embeddings, backends: [home]}}}}
plans: {{default: {{requests: 60/minute, spend: 1 USD/day}}}}
"""


@pytest.fixture
def examined(tmp_path: Path, shell: Shell) -> Any:
    def run(status: int = 0, *options: str, **given: str) -> dict[str, dict[str, str]]:
        fields = {
            "listen": f"127.0.0.1:{free_port()}",
            "tls": '"off"',
            "shared": "memory://",
            "more": "",
            "folder": str(tmp_path / "data"),
        }
        path = tmp_path / "policy.yaml"
        path.write_text(POLICY.format(**{**fields, **given}))
        told = shell.json("doctor", "--config", str(path), "--json", *options, status=status)
        wrong = [one["found"] for one in told if one["grade"] == "problem"]
        assert len(wrong) == len(set(wrong)), "what is wrong is said once"
        worst = sorted(told, key=lambda one: ["ok", "warning", "problem"].index(one["grade"]))
        return {one["what"]: one for one in worst}

    return run


def test_where_nothing_is_wrong_nothing_is_found(examined: Any) -> None:
    found = examined()
    assert {one["grade"] for one in found.values()} == {"ok"}
    assert {"policy", "start", "port", "disk", "clock", "descriptors", "backend home"} <= set(found)


def test_a_port_that_is_taken(examined: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        found = examined(1, listen=f"127.0.0.1:{taken.getsockname()[1]}")
    assert found["port"]["grade"] == "problem"
    assert "server.listen" in found["port"]["do"]


def test_keys_in_the_clear(examined: Any) -> None:
    found = examined(0, listen=f"0.0.0.0:{free_port()}")
    assert (found["tls"]["grade"], "server.tls" in found["tls"]["do"]) == ("warning", True)


def test_a_secret_that_is_not_set(examined: Any) -> None:
    more = 'burst: {kind: openai, base_url: "http://127.0.0.1:1", api_key: "${NOT_SET_ANYWHERE}"}'
    found = examined(1, more=more)
    assert found["backend burst"] == {
        "what": "backend burst",
        "grade": "problem",
        "found": "backends.burst.api_key: the environment variable NOT_SET_ANYWHERE is not set",
        "do": "set it, or NOT_SET_ANYWHERE_FILE to a file that has it",
    }
    assert found["start"]["grade"] == "ok", "it is said once"
    assert "NOT_SET_ANYWHERE" in examined(1, "--offline", more=more)["start"]["found"]


def test_a_backend_that_does_not_answer(examined: Any) -> None:
    more = 'burst: {kind: openai, base_url: "http://127.0.0.1:1"}'
    found = examined(1, more=more)
    assert found["backend burst"]["grade"] == "problem"
    assert "(127.0.0.1:1: Connection refused)" in found["backend burst"]["found"]
    assert "spillgate probe burst" in found["backend burst"]["do"]
    assert "backend burst" not in examined(0, "--offline", more=more)


def test_a_redis_that_does_not_answer(examined: Any) -> None:
    found = examined(1, shared=f"redis://127.0.0.1:{free_port()}/0")
    assert (found["redis"]["grade"], "store.shared" in found["redis"]["do"]) == ("problem", True)


def test_a_clock_behind_what_was_written(examined: Any, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir(mode=0o700)
    file = tmp_path / "data" / "ledger.db"
    file.touch(mode=0o600)
    ahead = time.time() + 3600
    os.utime(file, (ahead, ahead))
    assert examined(1, "--offline")["clock"]["grade"] == "problem"


def test_a_policy_that_cannot_be_read_ends_with_2(shell: Shell, tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text("version: 1\nmodels: {m: {task: dance}}\n")
    told = shell("doctor", "--config", str(path), status=2)
    assert "bad.yaml:2" in told
    assert "spillgate check" in told
