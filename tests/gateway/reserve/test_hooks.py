"""A URL that is posted to, a program that is run, and what each comes to."""

from __future__ import annotations

import asyncio
import json
import os
import stat
from pathlib import Path

import msgspec
import pytest

from gateway.reserve.earlier_file import EarlierFile
from gateway.reserve.hooks import HookOutcome, RealHooks
from gateway.reserve.rented import Rented
from tests.adapters.servers import CUT, answer, scripted
from tests.waiting import until

POD = Rented(
    id="i7", reserve="pods", backend="home", hourly_nano=1, began=0, stop="/x", timeout_s=5.0
)


def program(folder: Path, text: str) -> str:
    path = folder / "hook"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


async def test_a_url_is_told_what_is_to_be_done() -> None:
    async with scripted(answer({}, 204)) as (script, url):
        outcome = await RealHooks().call(f"{url}/pods?a=b", "start", POD, "secret")
    assert outcome.done is True
    request = script.requests[0]
    assert (request.method, request.target) == ("POST", "/pods?a=b")
    assert request.headers["authorization"] == "Bearer secret"
    told = {"action": "start", "instance": "i7", "reserve": "pods", "backend": "home"}
    assert json.loads(request.body) == told


@pytest.mark.parametrize("status", [302, 404, 500])
async def test_any_other_status_says_that_it_is_not_done(status: int) -> None:
    async with scripted(answer({}, status)) as (_, url):
        outcome = await RealHooks().call(url, "stop", POD)
    assert (outcome.done, outcome.said) == (False, f"status {status}")


async def test_nobody_listens_and_nothing_is_done() -> None:
    outcome = await RealHooks().call("http://127.0.0.1:9/x", "start", POD)
    assert outcome.done is False


@pytest.mark.parametrize(
    ("hook", "token"),
    [
        ("http://127.0.0.1:9/x", "tök"),
        ("http://127.0.0.1:99999/x", ""),
        ("http://[::1/x", ""),
        ("http://a..b/x", ""),
        ("ftp://127.0.0.1/x", ""),
        ("/opt/\0", ""),
        ("/opt/\ud800", ""),
    ],
    ids=["token", "port", "bracket", "host", "scheme", "null", "surrogate"],
)
async def test_what_fails_before_a_byte_is_sent_is_not_done_whatever_it_is(
    hook: str, token: str
) -> None:
    assert (await RealHooks().call(hook, "start", POD, token)).done is False


async def test_a_token_that_is_no_header_is_never_told() -> None:
    async with scripted(answer({})) as (script, url):
        outcome = await RealHooks().call(url, "start", POD, "sec\nret")
    assert outcome == HookOutcome(False, "its request cannot be sent as HTTP")
    assert script.requests == []


@pytest.mark.parametrize("reply", [b"", b"HTTP/1.1 2" + CUT, b"odd\r\n\r\n"], ids=repr)
async def test_where_the_connection_breaks_nobody_knows(reply: bytes) -> None:
    async with scripted(reply) as (_, url):
        outcome = await RealHooks().call(url, "start", POD)
    assert outcome.done is None


async def test_a_program_is_run_with_what_is_to_be_done(tmp_path: Path) -> None:
    """And with little of the gateway's environment, which has secrets."""
    os.environ["RESERVE_TEST_SECRET"] = "hidden"
    text = f'echo "$1 $2 $SPILLGATE_RESERVE [$RESERVE_TEST_SECRET]" > {tmp_path}/told'
    outcome = await RealHooks().call(program(tmp_path, text), "stop", POD)
    assert outcome.done is True
    assert (tmp_path / "told").read_text() == "stop i7 pods []\n"


@pytest.mark.parametrize(
    ("text", "done", "said"),
    [
        ("echo no room >&2; exit 3", False, "exit status 3: no room"),
        ("kill -9 $$", None, "exit status -9"),
        ("sleep 60 & sleep 60", None, "no answer within 0.3 s"),
    ],
    ids=["refused", "killed", "hangs"],
)
async def test_a_program_says_by_its_end_what_it_has_come_to(
    tmp_path: Path, text: str, done: bool | None, said: str
) -> None:
    pod = msgspec.structs.replace(POD, timeout_s=0.3 if "sleep" in text else 5.0)
    outcome = await RealHooks().call(program(tmp_path, text), "start", pod)
    assert (outcome.done, outcome.said) == (done, said)


@pytest.mark.parametrize(("status", "done"), [(0, True), (3, False)], ids=["done", "refused"])
async def test_what_a_program_leaves_running_holds_up_nobody_and_runs_on(
    tmp_path: Path, status: int, done: bool
) -> None:
    """Though it has the program's standard error, and prints there later."""
    os.mkfifo(tmp_path / "go")
    left = f"(read go < {tmp_path}/go; echo more >&2; touch {tmp_path}/ran-on) &"
    text = f"{left}\necho said >&2; exit {status}"
    outcome = await RealHooks().call(program(tmp_path, text), "start", POD)
    assert outcome == HookOutcome(done, "" if done else "exit status 3: said")
    await asyncio.to_thread((tmp_path / "go").write_text, "go\n")
    await until((tmp_path / "ran-on").exists, within_s=10.0)


async def test_a_program_that_prints_much_ends_and_its_last_words_are_told(tmp_path: Path) -> None:
    text = "yes | head -c 1000000 >&2; echo no room >&2; exit 3"
    outcome = await RealHooks().call(program(tmp_path, text), "start", POD)
    assert outcome.done is False
    assert outcome.said.endswith("y\nno room")
    assert len(outcome.said) < 230


async def test_a_program_that_is_not_there_has_done_nothing(tmp_path: Path) -> None:
    assert (await RealHooks().call(f"{tmp_path}/none", "start", POD)).done is False


def test_an_earlier_file_is_read_and_an_odd_one_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "rented.json"
    file = EarlierFile(path)
    assert file.read() == []
    path.write_bytes(msgspec.json.encode([POD]))
    assert file.read() == [POD]
    path.write_text("{")
    with pytest.raises(OSError, match="cannot be read"):
        file.read()
