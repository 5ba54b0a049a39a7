"""What contenders are asked, and how those are told of that are not to be had."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.gateway.__main__ import chosen, parse
from benchmarks.gateway.contenders import ALL, SETUPS
from benchmarks.gateway.contenders.bifrost import Bifrost
from benchmarks.gateway.contenders.spillgate import Setup, policy
from benchmarks.gateway.environments import installed
from benchmarks.gateway.processes import Missing
from benchmarks.gateway.target import LARGE, RESPONSES, WANTS_LARGE, Target, completion
from gateway.policy.reader import read_policy_text

UPSTREAM = Target(url="http://127.0.0.1:1")


@pytest.mark.parametrize("size", [WANTS_LARGE, LARGE])
def test_a_body_is_padded_to_the_byte(size: int) -> None:
    body = UPSTREAM.body(size=size)
    assert len(body) == size
    assert json.loads(body)["messages"][1]["role"] == "user"
    assert UPSTREAM.body(size=1) == UPSTREAM.body()


def test_an_answer_is_padded_to_the_byte() -> None:
    assert len(completion(LARGE)) == LARGE
    assert json.loads(completion(LARGE))["usage"]["total_tokens"] == 42


def test_a_request_has_the_contenders_own_headers_path_and_name_of_the_model() -> None:
    target = Target(url=UPSTREAM.url, path=RESPONSES, headers=(("Prefer", "wait=20"),), model="m")
    head, _, body = target.request().partition(b"\r\n\r\n")
    assert head.startswith(b"POST /v1/responses ")
    assert b"\r\nPrefer: wait=20\r\n" in head
    assert json.loads(body)["model"] == "m"


@pytest.mark.parametrize("setup", [Setup(), *SETUPS.values()], ids=str)
def test_the_policy_of_every_setup_is_one(setup: Setup) -> None:
    ledger = "postgresql://someone@127.0.0.1:1/db" if setup.postgres else ""
    shared = "redis://127.0.0.1:1/0" if setup.redis else ""
    text = policy(setup, UPSTREAM, Path("/nowhere"), 8000, ledger, shared)
    read = read_policy_text(text, {})
    assert len(read.backends) == setup.backends
    assert len(read.routes) == setup.routes
    assert read.routes[-1].name == "default"
    (model,) = read.models.values()
    assert len(model.backends) == setup.backends
    assert (read.store.shared is not None) == setup.redis


@pytest.mark.parametrize("command", [["no-such-program"], ["sh", "-c", "echo why >&2; false"]])
def test_what_cannot_be_installed_is_missing_and_says_why(command: list[str]) -> None:
    with pytest.raises(Missing, match=r"(?s)none could not be installed.*(no-such-program|why)"):
        installed("none", command)


def test_bifrost_without_its_program_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Missing, match="not on the PATH"):
        Bifrost().start(UPSTREAM, tmp_path)


def test_a_quick_run_has_nginx_the_routers_and_the_two_plain_gateways() -> None:
    assert [one.name for one in chosen(parse(["--quick"]))] == [
        "direct", "nginx", "sglang-router", "smg", "vllm-router", "bifrost", "spillgate",
        "spillgate-local",
    ]  # fmt: skip
    assert len(chosen(parse([]))) == len(ALL)
