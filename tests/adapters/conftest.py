"""Stages are started once a session, when a test first asks for one."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import pytest

from tests import processes
from tests.adapters.scenarios import Stage
from tests.adapters.stages import STAGES


@pytest.fixture(scope="session")
def stages() -> Iterator[Callable[[str], Stage]]:
    with contextlib.ExitStack() as stack:
        started: dict[str, Stage] = {}

        def stage_of(kind: str) -> Stage:
            if kind not in started:
                with processes.lasting():
                    started[kind] = stack.enter_context(STAGES[kind]())
            return started[kind]

        yield stage_of
