"""A policy, and a shell to run commands over it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.gateway.cli.shells import POLICY, Shell


@pytest.fixture
def config(tmp_path: Path) -> str:
    """A policy whose secret is not set: commands that ask no backend do not need it."""
    path = tmp_path / "policy.yaml"
    path.write_text(POLICY.format(folder=tmp_path / "data"))
    return str(path)


@pytest.fixture
def shell(capfd: pytest.CaptureFixture[str]) -> Shell:
    return Shell(capfd)
