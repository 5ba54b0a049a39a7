"""Whom a backend is asked for after failures: its health, and the one call that tries it."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from gateway.routing.health import (
    HEALTHY,
    BackendHealth,
    Failed,
    Resting,
    after_failure,
    after_good_word,
    after_nothing,
    after_success,
    after_trial_began,
)


class Caller(msgspec.Struct, frozen=True):
    """Whose call it is, as far as a backend's health depends on it."""

    model: str = ""
    key: str = ""
    """The id of the caller's key; empty for the gateway's own calls."""


OURSELVES = Caller()


class Rests:
    """When one backend is left alone, and by whom. Instants are monotonic seconds."""

    __slots__ = ("_draw", "health")

    def __init__(self, draw: Callable[[], float]) -> None:
        """``draw`` gives a number in [0, 1), by which rests are made uneven."""
        self.health: BackendHealth = HEALTHY
        self._draw = draw

    def resting(self, model: str, key: str, now: float) -> Resting | None:
        """Why a call should go elsewhere; without a model: why everybody's calls should."""
        if not model:
            return self.health.resting_for_all(now)
        return self.health.resting(model, key, now)

    def may_enter(self, caller: Caller, now: float) -> bool:
        """False where the one call that is let through after a rest has come before."""
        resting = self.health.resting(caller.model, caller.key, now)
        return resting is None or not resting.hard

    def begin_trial(self, caller: Caller, now: float) -> bool:
        """True for the one call that is let through after a rest."""
        model, key = caller.model, caller.key
        if not self.health.is_due(model, key, now):
            return False
        self.health = after_trial_began(self.health, model, key, now)
        return True

    def end_trial(self, model: str, key: str) -> None:
        """The call that was let through was broken off: another one may be."""
        self.health = after_nothing(self.health, model, key)

    def after_s(self, failed: Failed, now: float) -> float:
        """Seconds, at most, for which such a failure keeps its caller away, were it added now; 0
        where he is let in when no other backend can take his call."""
        health = after_failure(self.health, failed, now, 0.0)
        resting = health.resting(failed.model, failed.key, now)
        return resting.until - now if resting is not None and resting.hard else 0.0

    def add_failure(self, failed: Failed, now: float) -> None:
        """An attempt has failed."""
        self.health = after_failure(self.health, failed, now, self._draw())

    def add_success(self, model: str) -> None:
        """A call of the model was answered."""
        if self.health.scopes:
            self.health = after_success(self.health, model)

    def add_good_word(self) -> None:
        """The backend says of itself that it is ready."""
        if self.health.scopes:
            self.health = after_good_word(self.health)
