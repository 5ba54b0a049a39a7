"""What the contract suite asks of every kind, in words that each kind's stage fills in."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any, ClassVar, Protocol

import msgspec

from adapters.base import Backend
from adapters.errors import FailureClass
from adapters.types import Call, Task

KEY = "stage-key-4711"


class Scenario(msgspec.Struct, frozen=True, kw_only=True):
    """One thing to ask for, in a kind's own words."""

    body: dict[str, Any]
    task: Task = "infer"
    stream: bool = False
    fails: FailureClass | None = None
    endpoint: str = "plain"
    """Which of the stage's backends it is for."""


class Stage(Protocol):
    """``scenarios`` are named: echo, stream, slow, and any that fail."""

    scenarios: ClassVar[dict[str, Scenario]]

    def backend(self, endpoint: str = "plain") -> Backend: ...

    def running(self, endpoint: str = "plain") -> int:
        """How many calls the thing behind the backend is running now."""
        ...


def call_for(scenario: Scenario, call_id: str = "c1", deadline: float = float("inf")) -> Call:
    return Call(
        id=call_id,
        model="m",
        task=scenario.task,
        body=json.dumps(scenario.body).encode(),
        stream=scenario.stream,
        deadline=deadline,
    )


async def until(condition: Any, seconds: float = 10.0) -> None:
    """Waits for something outside this process, with a bound."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come to pass in time"
        await asyncio.sleep(0.02)
