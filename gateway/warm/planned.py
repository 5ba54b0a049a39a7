"""Models whose workers at one backend are planned: their planner, and what that said last."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import msgspec

from gateway.active_policy import ActivePolicy
from gateway.backends.live import LiveBackend
from gateway.money.pricing import second_rate
from gateway.planning.baseline import BaselineRule
from gateway.planning.coming import (
    ComingCalls,
    ComingLook,
    JobsInLine,
    JobsLook,
    seen_coming,
    seen_jobs,
)
from gateway.planning.minimum import Minimum, minimum_of
from gateway.planning.planner import Capacity, Planner, PlanRule, Seen
from gateway.planning.starts import StartSamples
from gateway.warm.demand import Pool

LINGER_S = 5.0
"""A worker that was held is let go no sooner."""
_LEARN_EVERY_S = 60.0


class PlanLook(msgspec.Struct, frozen=True):
    """What was seen, and what follows from it: enough to do the sum again."""

    models: tuple[str, ...]
    seen: Seen
    at_home: int
    """Of ``seen.ready``, what is no worker of this backend."""
    capacity: Capacity
    minimum: Minimum
    coming: tuple[ComingLook, ...] = ()
    """Of ``seen.coming``, by what begins them."""
    jobs: tuple[JobsLook, ...] = ()
    """That wait in the store, by their models."""


class BackendPlan(msgspec.Struct, frozen=True):
    """What the last look at a backend has come to."""

    at: float
    """Seconds since the epoch."""
    minimum: Minimum
    pools: tuple[PlanLook, ...]
    """By the models that the same backends serve."""


class Foreseen(msgspec.Struct, frozen=True, kw_only=True):
    """What is known at a look beside the calls that are there, of any models."""

    now_at: float
    """Seconds since the epoch."""
    coming: Sequence[ComingCalls] = ()
    """Calls that begin before a start is over."""
    jobs: Sequence[JobsInLine] = ()


class PlannedModels:
    """Of one rule; other promises, or other prices, begin anew."""

    def __init__(self, pool: Pool, plan: PlanRule, backend: LiveBackend, now: float) -> None:
        self.pool = pool
        self.plan = plan
        self.planner = Planner(plan, _starts(backend), now)
        self._models = tuple(sorted(pool))
        self._learned_at = now
        self._held: deque[tuple[float, int]] = deque()

    def look(
        self,
        backend: LiveBackend,
        seen: Seen,
        at_home: int,
        now: float,
        known: Foreseen,
    ) -> PlanLook:
        """What there should be until the next look. ``now``: monotonic seconds."""
        coming = self._coming(backend, known) if known.coming else ()
        jobs = self._jobs(backend, known) if known.jobs else ()
        if coming or jobs:
            at_once = sum(one.at_once for one in jobs)
            seen = msgspec.structs.replace(
                seen,
                coming=sum(one.at_once for one in coming),
                backlog=max(0, at_once - seen.jobs),
            )
        if now - self._learned_at >= _LEARN_EVERY_S:
            self._learned_at = now
            self.planner.learn_starts(_starts(backend))
        capacity = self.planner.look(now, seen)
        minimum = minimum_of(
            capacity,
            seen,
            at_home,
            per_worker=backend.workers.per_worker,
            lingering=self._lingering(now),
        )
        self._held.append((now, minimum.held))
        return PlanLook(self._models, seen, at_home, capacity, minimum, coming, jobs)

    def _coming(self, backend: LiveBackend, known: Foreseen) -> tuple[ComingLook, ...]:
        return tuple(
            seen_coming(one, backend.learned.run_time(one.model).mean)
            for one in known.coming
            if one.model in self.pool
        )

    def _jobs(self, backend: LiveBackend, known: Foreseen) -> tuple[JobsLook, ...]:
        cold = backend.learned.cold
        start_s = 0.0 if cold is None else cold.p50
        looks = (
            seen_jobs(
                model, known.jobs, backend.learned.run_time(model).mean, start_s, known.now_at
            )
            for model in self._models
        )
        return tuple(one for one in looks if one is not None)

    def _lingering(self, now: float) -> int:
        held = self._held
        while held and now - held[0][0] > LINGER_S:
            held.popleft()
        return max((workers for _, workers in held), default=0)


def plan_rule(active: ActivePolicy, backend: LiveBackend, pool: Pool) -> PlanRule:
    """What the policy promises to calls of the models, and what capacity that is reserved for them
    costs beside a second of the backend."""
    slo_s = min(active.policy.models[model].slo for model in pool)
    return PlanRule(slo_s=slo_s, baseline=BaselineRule(share=_share(active, backend, pool)))


def _share(active: ActivePolicy, backend: LiveBackend, pool: Pool) -> float:
    """1 where nothing that is reserved has a price by the hour."""
    own = 0 if backend.price is None else backend.price.per_second or 0
    named = {name for model in pool for name in active.policy.models[model].backends}
    rates = [
        second_rate(price)
        for price in (active.backends[name].price for name in named)
        if price is not None and price.reserved
    ]
    return min(min(rates) / own, 1.0) if rates and own else 1.0


def _starts(backend: LiveBackend) -> StartSamples:
    cold = backend.learned.cold
    return StartSamples([1.0] if cold is None else cold.samples)
