"""How the contract plays a scenario: a backend from start to close, and what it may leave."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import ClassVar

import pytest

from adapters.base import Backend
from adapters.types import Reply, Usage
from spillgate_contract.stage import Scenario, Stage, until

START_WITHIN_S = 20.0
OPEN_FILES = Path("/proc/self/fd")


class OnStage:
    """What the parts of the contract share: the scenarios, and a test for each that fits.

    A test that takes ``streamed`` runs once for every scenario that streams, one that takes
    ``failing`` once for every scenario that fails.
    """

    scenarios: ClassVar[Mapping[str, Scenario]]

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Plays a test once for each scenario of the stage that fits it."""
        named = self.scenarios.items()
        if "streamed" in metafunc.fixturenames:
            fit = [name for name, one in named if one.stream and one.fails is None]
            metafunc.parametrize("streamed", fit)
        if "failing" in metafunc.fixturenames:
            metafunc.parametrize("failing", [name for name, one in named if one.fails])


@contextlib.asynccontextmanager
async def started(stage: Stage, endpoint: str = "plain") -> AsyncIterator[Backend]:
    """A backend that must leave no task behind when it is closed."""
    before = asyncio.all_tasks()
    backend = stage.backend(endpoint)
    await begin(backend)
    try:
        yield backend
    finally:
        await backend.aclose()
    assert asyncio.all_tasks() == before


async def begin(backend: Backend) -> None:
    """Starts it and waits until it takes calls: a model loads while the gateway runs."""
    await backend.start()
    await until(lambda: backend.slots != 0, START_WITHIN_S)


async def whole(reply: Reply) -> bytes:
    """All of an answer, however it comes."""
    if reply.chunks is None:
        return reply.body
    return b"".join([chunk.data async for chunk in reply.chunks])


def is_idle(backend: Backend) -> bool:
    """As its repr says, where that counts its active connections: ``0 active``."""
    shown = repr(backend)
    return " active" not in shown or "0 active" in shown


def sockets_open() -> int:
    """Sockets of this process, the stage's own included."""
    count = 0
    for name in os.listdir(OPEN_FILES):
        with contextlib.suppress(OSError):
            count += os.readlink(OPEN_FILES / name).startswith("socket:")
    return count


def check_usage(usage: Usage) -> None:
    """Figures that a bill can be made of: known or None, and never less than nothing."""
    for name in ("queue_s", "cold_s", "exec_s", "gpu_s"):
        figure = getattr(usage, name)
        assert figure is None or figure >= 0.0, name
    for name in ("input_tokens", "output_tokens", "cost_nano"):
        count = getattr(usage, name)
        assert count is None or (isinstance(count, int) and count >= 0), name
    if usage.reported:
        assert usage.exec_s is not None, "reported times without the time that it ran"
    if usage.gpu_s is not None and usage.exec_s is not None:
        assert usage.gpu_s <= usage.exec_s + 1e-9, "more of the device than it ran"
