"""Whom a backend is asked for after failures: its health, and the one call that tries it."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from adapters.errors import BackendError, FailureClass
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
    user: str = ""
    """The caller, whichever of his keys he shows; empty for the gateway's own calls."""
    last_resort: bool = False
    """No other backend can take the call: he is kept away by a hard rest alone."""


OURSELVES = Caller()
_SILENT = FailureClass.TIMEOUT.slug


class LeftAlone(Exception):
    """Raised to a call whose backend is left alone after failures of others; ``hard``: even where
    no other backend can take the call."""

    def __init__(self, again_in: float, hard: bool) -> None:
        """``again_in``: seconds until it may be asked."""
        super().__init__("left alone")
        self.hard = hard
        self.failure = BackendError(
            FailureClass.OVERLOADED,
            "The backend is left alone after failures.",
            retry_after=again_in,
        )


class Rests:
    """When one backend is left alone, and by whom. Instants are monotonic seconds."""

    __slots__ = ("_draw", "health")

    def __init__(self, draw: Callable[[], float]) -> None:
        """``draw`` gives a number in [0, 1), by which rests are made uneven."""
        self.health: BackendHealth = HEALTHY
        self._draw = draw

    def resting(self, model: str, user: str, now: float) -> Resting | None:
        """Why a call should go elsewhere; without a model: why everybody's calls should."""
        if not model:
            return self.health.resting_for_all(now)
        return self.health.resting(model, user, now)

    def enter(self, caller: Caller, now: float) -> bool:
        """Takes a call in: True for the one that is let through after a rest.

        Raises LeftAlone where the backend rests, or another call is the one that tries it. The
        gateway's own calls are always taken.
        """
        if not self.health.scopes:
            return False
        model, user = caller.model, caller.user
        resting = self.health.resting(model, user, now)
        if resting is not None and model and (resting.hard or not caller.last_resort):
            raise LeftAlone(resting.until - now, resting.hard)
        if not self.health.is_due(model, user, now):
            return False
        self.health = after_trial_began(self.health, model, user, now)
        return True

    def end_trial(self, model: str, user: str) -> None:
        """The call that was let through was broken off: another one may be."""
        self.health = after_nothing(self.health, model, user)

    def after_s(self, failed: Failed, now: float) -> float:
        """Seconds, at most, for which such a failure keeps its caller away, were it added now; 0
        where he is let in when no other backend can take his call."""
        health = after_failure(self.health, failed, now, 0.0)
        resting = health.resting(failed.model, failed.user, now)
        return resting.until - now if resting is not None and resting.hard else 0.0

    def was_silent(self, model: str) -> bool:
        """Whether a call of the model was left without a word, and none answered since."""
        scopes = self.health.scopes
        return any(scope[0] == model and one.cause == _SILENT for scope, one in scopes.items())

    def add_failure(self, failed: Failed, now: float) -> None:
        """An attempt has failed."""
        self.health = after_failure(self.health, failed, now, self._draw())

    def add_success(self, model: str) -> None:
        """A call of the model was answered, while somebody is kept away."""
        self.health = after_success(self.health, model)

    def add_good_word(self, *, is_news: bool) -> None:
        """The backend says of itself that it is ready; ``is_news``: it said otherwise before."""
        if self.health.scopes:
            self.health = after_good_word(self.health, is_news=is_news)
