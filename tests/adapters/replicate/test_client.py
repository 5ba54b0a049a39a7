"""The cloud of the tests, driven by Replicate's own client: what it reads is what it knows."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from tests.adapters.replicate.stage import cloud_running
from tests.adapters.scenarios import KEY
from tests.adapters.stages import ROOT


@pytest.fixture(scope="module")
def seen() -> dict[str, Any]:
    """What the client saw, in a process of its own: it takes long to import."""
    with cloud_running() as (_, url):
        done = subprocess.run(
            [sys.executable, "-m", "tests.adapters.replicate.client"],
            cwd=ROOT,
            env={**os.environ, "REPLICATE_BASE_URL": url, "REPLICATE_API_TOKEN": KEY},
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize(
    ("what", "expected"),
    [
        ("held", ["succeeded", {"echo": "hello"}, True]),
        ("polled", ["succeeded", {"echo": "x"}]),
        ("cancelled", "canceled"),
        ("failed", ["failed", "boo"]),
        ("streamed", ["a", "b\nc", ""]),
        ("invalid", 422),
        ("deployment", 2),
        ("wrong key", 401),
    ],
)
def test_the_genuine_client_finds_the_cloud_it_knows(
    seen: dict[str, Any], what: str, expected: Any
) -> None:
    assert seen[what] == expected
