"""Fixtures that every test may use."""

from __future__ import annotations

import asyncio
import inspect
from typing import Any

import pytest

from gateway.clock import FakeClock

pytest_plugins = ["spillgate_contract"]


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Runs ``async def`` tests, each on a loop of its own that must end with no task left."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    arguments: dict[str, Any] = {
        name: pyfuncitem.funcargs[name] for name in inspect.signature(pyfuncitem.obj).parameters
    }
    asyncio.run(asyncio.wait_for(pyfuncitem.obj(**arguments), timeout=60))
    return True


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()
