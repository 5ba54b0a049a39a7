"""A stepper whose every move a test can see, and the calls that it is given."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from local_runtime import InvalidInput, Request, Step
from local_runtime.app.runtime import Handler
from local_runtime.protocol.events import Run
from local_runtime.worker.jobs import Job


class Count:
    """A sequence that counts from 1 to ``to``."""

    def __init__(self, request: Request) -> None:
        body = request.json
        if not isinstance(body.get("to"), int):
            raise InvalidInput("to must be a number", param="to")
        self.name: str = request.id
        self.to: int = body["to"]
        self.wide: int = body.get("wide", 0)
        self.at = 0

    def __repr__(self) -> str:
        return f"{self.name}:{self.at}"


class Counting:
    """Counts for many at once; ``does`` runs before every step and may raise, or give an
    exception in the place of a sequence's outcome."""

    def __init__(self, does: Callable[[list[Count]], dict[str, Any]] | None = None) -> None:
        self._does = does or (lambda states: {})
        self.steps: list[str] = []
        self.evicted: list[str] = []
        self.inside: list[str] = []
        self.most = 0

    def admit(self, request: Request) -> Count:
        state = Count(request)
        self.inside.append(state.name)
        self.most = max(self.most, len(self.inside))
        return state

    def step(self, states: list[Count]) -> list[Any]:
        self.steps.append(" ".join(state.name for state in states))
        instead = self._does(states)
        return [
            instead[state.name] if state.name in instead else self._count(state) for state in states
        ]

    def evict(self, state: Count) -> None:
        self.inside.remove(state.name)
        self.evicted.append(state.name)

    @staticmethod
    def _count(state: Count) -> Step:
        state.at += 1
        said = "x" * state.wide if state.wide else state.at
        return Step(
            items=[said],
            done=state.at >= state.to,
            prompt_tokens=1,
            completion_tokens=state.at,
        )


def handler(
    make: Callable[[dict[str, Any]], Any], *, route: str = "/", size: int = 8, retry: bool = False
) -> Handler:
    return Handler(route=route, function=make, concurrency=size, stepper=True, retry=retry)


def call(
    name: str, to: Any, *, by: Handler | None = None, stream: bool = False, wide: int = 0
) -> Job:
    """A call named by one letter, which is also its number."""
    body = msgspec.json.encode({"to": to, "wide": wide})
    run = Run(ord(name), "/", body, name, stream)
    return Job(run, by or handler(lambda context: Counting()), 99.0, lambda event: None)
