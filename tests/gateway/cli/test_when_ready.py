"""The log says when a model that was loading has loaded."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest

from gateway.cli.serving.when_ready import say_when_ready
from gateway.clock import FakeClock
from tests.gateway.assembled import assembled
from tests.waiting import until


async def test_each_backend_is_named_with_its_models_once(
    tmp_path: Path, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with assembled(tmp_path, clock) as gateway:
        home = gateway.fake("home")
        home.slots = 0
        with caplog.at_level(logging.INFO, "spillgate"):
            task = asyncio.ensure_future(say_when_ready(gateway.inner))
            await clock.advance(3)
            assert "ready after" not in caplog.text
            home.slots = 2
            await clock.advance(1)
            await until(task.done, "it has ended")
        assert not gateway.inner.active.backends["home"].standing.blocked(clock.monotonic())
        assert caplog.text.count("home is ready after") == 1
        assert "chat, any" in caplog.text
