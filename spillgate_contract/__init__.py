"""What every kind of backend keeps, as a pytest plugin: the suite that all kinds of Spillgate pass.

A package that brings a kind of its own runs the same suite on it. In the ``conftest.py`` at the
top of its tests::

    pytest_plugins = ["spillgate_contract"]

and in a test module, with a ``Stage`` that says how each scenario is asked of the kind::

    @pytest.fixture(scope="module")
    def stage() -> Iterator[Stage]: ...

    class TestMyKind(Contract):
        scenarios = MyStage.scenarios

The tests are coroutines; the plugin runs each on a loop of its own, within a minute.

``stage`` is what a kind must give. The suite is in three parts: ``answers``, ``failures`` and
``ends``; ``playing`` is how a scenario is played from start to close, and what it may leave.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Coroutine
from typing import Any

import pytest

from spillgate_contract.answers import Answers
from spillgate_contract.ends import Ends
from spillgate_contract.failures import Failures
from spillgate_contract.stage import KEY, Scenario, Stage, call_for, until

__all__ = ["KEY", "Contract", "Scenario", "Stage", "call_for", "until"]

TEST_WITHIN_S = 60.0


class Contract(Answers, Failures, Ends):
    """The whole contract. A subclass names its ``scenarios`` and gives the fixture ``stage``."""


def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Runs the contract's own tests, where nothing else runs coroutines."""
    of_ours = pyfuncitem.cls is not None and issubclass(pyfuncitem.cls, Contract)
    if not of_ours or not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    wanted = inspect.signature(pyfuncitem.obj).parameters
    arguments = {name: pyfuncitem.funcargs[name] for name in wanted}
    asyncio.run(_in_time(pyfuncitem.obj(**arguments)))
    return True


async def _in_time(test: Coroutine[Any, Any, None]) -> None:
    async with asyncio.timeout(TEST_WITHIN_S):
        await test
