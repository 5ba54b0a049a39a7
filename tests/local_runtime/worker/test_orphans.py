"""What a worker's app starts, and what it does to the worker's own files."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.local_runtime.server.live_runtime import LiveRuntime
from tests.waiting import wait_until


@pytest.fixture
def live() -> Iterator[LiveRuntime]:
    with LiveRuntime("broken/orphans.py") as live:
        yield live


@pytest.fixture
def client(live: LiveRuntime) -> Iterator[httpx.Client]:
    with live.client as client:
        yield client


@pytest.mark.parametrize("route", ["/daemon", "/fork"])
def test_a_worker_is_replaced_though_what_it_started_lives_on(
    client: httpx.Client, route: str, tmp_path: Path
) -> None:
    """And holds its pipes and its sockets: the call has its end all the same."""
    first, orphan = client.post("/", json=1).json(), tmp_path / "orphan"
    try:
        answer = client.post(route, json=str(orphan))
        assert answer.json()["error"]["code"] == "died"
        wait_until(lambda: client.post("/", json=1).status_code == 200)
        assert client.post("/", json=1).json() != first
        os.kill(int(orphan.read_text()), 0)  # it lives still
    finally:
        os.kill(int(orphan.read_text()), signal.SIGKILL)


def test_a_program_that_reads_its_input_finds_none(client: httpx.Client) -> None:
    """It would wait for ever, or take the supervisor's orders away."""
    assert client.post("/cat", json=1).json() == ""


def test_an_app_that_closes_its_input_still_hears_the_order_to_end(
    live: LiveRuntime, client: httpx.Client, tmp_path: Path
) -> None:
    """And ends by itself, in order: nothing has to kill it."""
    ended = tmp_path / "ended"
    assert client.post("/close", json=str(ended)).status_code == 200
    live.signal(signal.SIGTERM)
    assert ended.exists()
