"""The spare backend of the end-to-end tests: RunPod's own worker behind the small queue."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.live import ROOT, free_port
from tests.waiting import wait_until

KEY = "e2e-demo-key"


@pytest.fixture(scope="session")
def overflow() -> Iterator[str]:
    """Its base URL. The worker starts at once, and stays for the whole session."""
    with running_front("tests.programs.runpod.worker") as url:
        yield url


@pytest.fixture(scope="session")
def streaming_overflow() -> Iterator[str]:
    """The same, with a worker whose answers are streams."""
    with running_front("tests.programs.runpod.stream_worker") as url:
        yield url


@contextlib.contextmanager
def running_front(worker: str) -> Iterator[str]:
    port = free_port()
    command = [
        sys.executable,
        "-m",
        "examples.overflow",
        "--port",
        str(port),
        "--idle-timeout",
        "300",
        "--max-workers",
        "1",
        "--preload",
        "--worker",
        worker,
    ]
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env={**os.environ, "RUNPOD_API_KEY": KEY},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait_for(port, process)
        yield f"http://127.0.0.1:{port}/v2"
    finally:
        process.terminate()
        process.wait(30)


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    def listens() -> bool:
        assert process.poll() is None, "the overflow front ended"
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    wait_until(listens, "the overflow front listens", within_s=60)
