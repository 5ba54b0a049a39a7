"""Fixtures that every test may use, and what is asked of every test."""

from __future__ import annotations

import asyncio
import gc
import inspect
import signal
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from gateway.clock import FakeClock
from tests import catching_up, processes, rings

# How long an example takes is the machine's matter, and says nothing of the code.
hypothesis.settings.register_profile("suite", deadline=None)
hypothesis.settings.load_profile("suite")

pytest_plugins = ["spillgate_contract"]

_HANGS_AFTER_S = 300.0
"""Far more than any test takes, on a machine that has much else to do."""
_RUN = pytest.StashKey[str]()
_WATCH = pytest.StashKey[rings.Watch]()


def pytest_addoption(parser: pytest.Parser) -> None:
    quick = "only the tests that start no process (tests/rings.py)"
    parser.addoption("--quick", action="store_true", help=quick)
    within = "seconds that a process has to end after its test"
    parser.addini("processes_end_within", within, default="10")


def pytest_configure(config: pytest.Config) -> None:
    # A run that a script has put into its background would hand down that Ctrl-C is ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    catching_up.watch_threads()
    config.stash[_RUN] = processes.begin_run()
    config.stash[_WATCH] = rings.Watch()


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    return True if config.getoption("--quick") and rings.is_outer(collection_path) else None


def pytest_make_parametrize_id(val: object) -> str | None:
    """Bytes that no person reads are named by their length.

    What a compressor wrote has the second in it, and each process that collects tests would give
    them names of its own, which pytest-xdist refuses.
    """
    if isinstance(val, bytes) and not (val.isascii() and val.decode("ascii").isprintable()):
        return f"{len(val)} bytes"
    return None


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Runs ``async def`` tests, each on a loop of its own that must end with no task left."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    arguments: dict[str, Any] = {
        name: pyfuncitem.funcargs[name] for name in inspect.signature(pyfuncitem.obj).parameters
    }
    asyncio.run(_in_time(pyfuncitem.obj(**arguments)))
    return True


async def _in_time(test: Coroutine[Any, Any, None]) -> None:
    async with asyncio.timeout(_HANGS_AFTER_S):
        await test


def pytest_collection_finish(session: pytest.Session) -> None:
    """What a module starts when it is imported is no test's matter."""
    session.config.stash[_WATCH].take()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """A test fails that starts a process, in its fixtures or itself, and should be quick."""
    yield
    rings.assert_it_was_quick(item.path, item.config.stash[_WATCH].take())


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> Iterator[None]:
    """A file's last test fails for what any test of the file has left running."""
    yield
    item.config.stash[_WATCH].take()
    if nextitem is None or nextitem.path != item.path:
        file = item.nodeid.partition("::")[0] if nextitem else ""
        within_s = float(item.config.getini("processes_end_within"))
        processes.assert_nothing_is_left(item.config.stash[_RUN], file, within_s=within_s)
        # What a test has left open is told of its own file, not of the one that runs by then.
        gc.collect()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()
