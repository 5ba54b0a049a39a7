"""What the contract asks of every kind, in words that each kind's stage fills in."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import time
from collections.abc import Callable
from typing import Any, ClassVar, Protocol

import msgspec

from adapters.base import Backend
from adapters.errors import FailureClass
from adapters.types import Call, Task

KEY = "stage-key-4711"
"""The secret that a stage's backends are given: no error may show it."""


class Scenario(msgspec.Struct, frozen=True, kw_only=True):
    """One thing to ask for, in a kind's own words."""

    body: dict[str, Any]
    task: Task = "infer"
    stream: bool = False
    fails: FailureClass | None = None
    """The class of the failure that it must end in; None for a success."""
    endpoint: str = "plain"
    """Which of the stage's backends it is for."""
    estimated: bool = False
    """Of ``cold``: the platform does not say how long a start took, so the figure is made of what
    a probe saw, and must not be told as the platform's."""


class Stage(Protocol):
    """A backend of the kind, and something real behind it.

    ``scenarios`` are named. ``echo`` is asked with the word hello, or another in its place,
    answers a JSON that repeats it, and reports what it used; ``slow`` runs for a minute and can
    be stopped. Where a kind can play them: any number that stream, any number that fail, and
    ``cold``, which a fresh backend serves after a start of a worker and serves warm the second
    time.
    """

    scenarios: ClassVar[dict[str, Scenario]]

    def backend(self, endpoint: str = "plain") -> Backend:
        """A new one, not started. Its secrets hold ``KEY``."""
        ...

    def running(self, endpoint: str = "plain") -> int:
        """How many calls the thing behind the backend is running now."""
        ...


_NUMBERS = itertools.count(1)
WORD = "hello"
"""What ``echo`` repeats."""


def call_for(scenario: Scenario, deadline: float = float("inf"), *, word: str = WORD) -> Call:
    """The call that a scenario stands for, under an id that no other call has: where a server
    knows calls by their ids, a second one would be taken for the first that has not quite ended.

    ``deadline`` is on the scale of ``time.monotonic``; ``word`` stands in the place of hello.
    """
    return Call(
        id=f"{os.getpid()}-{next(_NUMBERS)}",
        model="m",
        task=scenario.task,
        body=json.dumps(scenario.body).replace(WORD, word).encode(),
        stream=scenario.stream,
        deadline=deadline,
    )


async def until(condition: Callable[[], object], seconds: float = 10.0) -> None:
    """Waits for something outside this process, with a bound."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come to pass in time"
        await asyncio.sleep(0.02)
