"""Fixtures that every test may use, and what is asked of every test."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Iterator
from typing import Any

import pytest

from gateway.clock import FakeClock
from tests import processes

pytest_plugins = ["spillgate_contract"]

_RUN = pytest.StashKey[str]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addini(
        "processes_end_within", "seconds that a process has to end after its test", default="10"
    )


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_RUN] = processes.begin_run()


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


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> Iterator[None]:
    """A file's last test fails for what any test of the file has left running."""
    yield
    if nextitem is None or nextitem.path != item.path:
        file = item.nodeid.partition("::")[0] if nextitem else ""
        within_s = float(item.config.getini("processes_end_within"))
        processes.assert_nothing_is_left(item.config.stash[_RUN], file, within_s=within_s)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()
