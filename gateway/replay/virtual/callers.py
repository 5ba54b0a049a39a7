"""Calls as the gateway gets them, made of what was recorded of them."""

from __future__ import annotations

import asyncio

from adapters.types import Call, Task
from gateway.active_policy import ActivePolicy
from gateway.calls.state import CallState
from gateway.clock import Clock
from gateway.preferences import NO_PREFERENCES, Preferences
from gateway.replay.traffic import Arrival
from gateway.types import Principal

_BYTES_A_TOKEN = 4
_MOST_BYTES = 1 << 20
_TEXT = bytes(_MOST_BYTES)


class Callers:
    """Users with the plans that the recording names for them; ``model`` is asked by calls of models
    that the policy does not have."""

    def __init__(self, active: ActivePolicy, model: str, clock: Clock) -> None:
        self._active, self._model, self._clock = active, model, clock
        self._principals: dict[tuple[str, str], Principal] = {}
        plans = active.policy.plans
        self._plan = "default" if "default" in plans else ""
        self._tasks: dict[str, Task] = {
            name: spec.task for name, spec in active.policy.models.items()
        }

    def call(self, number: int, arrival: Arrival) -> CallState:
        """The state of a call that comes now."""
        active, clock = self._active, self._clock
        target = active.target(arrival.model) if arrival.model else self._model
        model = target if target in self._tasks else self._model
        now = clock.monotonic()
        call = Call(
            id=f"c{number}",
            model=model,
            task=self._tasks[model],
            body=self._body(arrival),
            stream=arrival.stream,
            deadline=now + active.longest(model),
        )
        return CallState(
            call,
            call.model,
            self._principal(arrival),
            self._preferences(arrival),
            received=now,
            received_at=clock.time(),
            policy=active.policy.version,
            task=asyncio.current_task(),
        )

    def _principal(self, arrival: Arrival) -> Principal:
        named = arrival.user, arrival.plan
        found = self._principals.get(named)
        if found is None:
            user = arrival.user or "anybody"
            plan = arrival.plan if arrival.plan in self._active.policy.plans else self._plan
            found = self._principals[named] = Principal(key_id=f"key_{user}", user=user, plan=plan)
        return found

    def _body(self, arrival: Arrival) -> bytes:
        read = max(arrival.tokens - arrival.output, 0)
        return _TEXT[: min(max(read * _BYTES_A_TOKEN, 2), _MOST_BYTES)]

    def _preferences(self, arrival: Arrival) -> Preferences:
        if arrival.output <= NO_PREFERENCES.output_tokens:
            return NO_PREFERENCES
        return Preferences(output_tokens=arrival.output)
