"""What ``check`` calls valid is served: whatever stands at whatever key, a policy is refused with a
place, a key and words, or a gateway starts with it and answers a call."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import os
import random
import re
import shutil
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.app import backend_maker, from_path, web
from gateway.cli.serving.server import GatewayServer, certificate_of
from gateway.clock import SystemClock
from gateway.key_requests import issue, read_request
from gateway.log_lines import LineWriter
from gateway.policy.model import Policy
from gateway.policy.reader import load_with_places
from gateway.policy.syntax.problems import PolicyError
from gateway.policy.warnings.every import warnings_of
from gateway.preflight.claims import KEYS_FILE, OWN_FILES
from gateway.preflight.listening import PortTaken, certificate_warnings, check_ports_are_free
from gateway.preflight.startable import check_startable
from tests.e2e.servers.faulty import FaultyServer
from tests.gateway.assembled import with_any_keys
from tests.gateway.preflight.hostile import base, mistaken, written

FIRST = int(os.environ.get("SPILLGATE_FIRST", "0"))
"""For other samples than these."""
SEEDS = range(FIRST, FIRST + (4_000 if os.environ.get("SPILLGATE_SOAK") == "long" else 150))
NOBODYS_FAULT = 500
PLACE = re.compile(r"\S*policy\.yaml(:\d+:\d+)?: ")
ANSWER_S = 20.0
"""Nobody waits so long for anything here; a gateway that hangs fails and does not keep the test."""


def checked(file: Path) -> Policy:
    """What ``spillgate check`` does. Raises PolicyError."""
    policy, places = load_with_places(file, os.environ)
    check_startable(policy, places, backend_maker(SystemClock()))
    today = datetime.date(2026, 11, 30)
    for told in (
        *warnings_of(policy, today=today, places=places),
        *certificate_warnings(policy, places),
    ):
        assert PLACE.match(str(told)), told
    return policy


@contextlib.asynccontextmanager
async def serving(file: Path) -> AsyncIterator[tuple[GatewayServer, str]]:
    """A gateway with the policy, at an address of its own."""
    with open(os.devnull, "wb", buffering=0) as nowhere:
        gateway = from_path(file, LineWriter(nowhere))
        listens = socket.create_server(("127.0.0.1", 0))
        port = listens.getsockname()[1]
        certificate = certificate_of(gateway)
        server = GatewayServer(gateway, web(gateway), certificate, serving=lambda: None)
        running = asyncio.ensure_future(server.serve([listens]))
        try:
            async with asyncio.timeout(ANSWER_S):
                while not server.started and not running.done():
                    await asyncio.sleep(0.005)
            assert server.started
            yield server, f"http{'s' if certificate else ''}://127.0.0.1:{port}"
        finally:
            server.should_exit = True
            async with asyncio.timeout(ANSWER_S):
                await running


async def answers(file: Path, policy: Policy) -> None:
    """Whatever is asked has an answer of the gateway's own."""
    async with serving(file) as (server, url):
        asked: dict[str, Any] = {"user": "alice"}
        key = issue(server._gateway.keys, read_request(asked, with_any_keys(policy)), 1e9)[0]
        headers = {"Authorization": f"Bearer {key}"}
        said = {"model": "chat", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 5}
        async with httpx.AsyncClient(base_url=url, headers=headers, verify=False) as client:
            for path in ("/healthz", "/readyz", "/metrics", "/v1/models", "/usage"):
                seen = await client.get(path, timeout=ANSWER_S)
                assert seen.status_code != NOBODYS_FAULT, (path, seen.text)
            seen = await client.post("/v1/chat/completions", json=said, timeout=ANSWER_S)
            assert seen.status_code != NOBODYS_FAULT, seen.text
            assert seen.is_success or seen.json()["error"]["message"], seen.text


@contextlib.contextmanager
def at_home(folder: Path) -> Iterator[None]:
    """Relative paths begin there."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


async def _look_at(text: str, folder: Path) -> bool:
    """True where the policy was served."""
    file = folder / "policy.yaml"
    file.write_text(text, encoding="utf-8")
    try:
        policy = checked(file)
        check_ports_are_free(policy)
    except PortTaken:
        return False
    except PolicyError as error:
        placeless = [line for line in str(error).splitlines() if not PLACE.match(line)]
        if placeless:
            raise AssertionError(placeless) from None
        return False
    await answers(file, policy)
    return True


async def test_what_is_called_valid_is_served_and_what_is_not_says_where(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEY", "k")
    served, faults = 0, []
    async with FaultyServer() as upstream:
        for seed in SEEDS:
            folder = tmp_path / str(seed)
            folder.mkdir()
            text, mistake = mistaken(base(str(folder), upstream.url), random.Random(seed))
            try:
                with at_home(folder):
                    served += await _look_at(text, folder)
            except Exception as error:
                faults.append(f"seed {seed}: {mistake}: {error!r}")
            shutil.rmtree(folder)
    assert not faults, "\n".join(faults)
    assert served >= len(SEEDS) // 100


async def test_the_policy_without_a_mistake_is_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEY", "k")
    async with FaultyServer() as upstream:
        assert await _look_at(written(base(str(tmp_path), upstream.url)), tmp_path)
        assert upstream.calls
    made = {one.name for one in (tmp_path / "data").iterdir()}
    assert made <= {*OWN_FILES, KEYS_FILE, "files"}
