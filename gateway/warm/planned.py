"""Models whose workers at one backend are planned: their planner, and what that said last."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

import msgspec

from gateway.active_policy import ActivePolicy
from gateway.backends.live import LiveBackend
from gateway.money.pricing import second_rate
from gateway.planning.baseline import BaselineRule
from gateway.planning.coming import ComingCalls, ComingLook, seen_coming
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
        coming: Iterable[ComingCalls] = (),
    ) -> PlanLook:
        """What there should be until the next look. ``now``: monotonic seconds; ``coming``: calls
        of any models that begin before a start is over."""
        known = tuple(
            seen_coming(one, backend.learned.run_time(one.model).mean)
            for one in coming
            if one.model in self.pool
        )
        if known:
            at_once = sum(one.at_once for one in known)
            seen = msgspec.structs.replace(seen, coming=at_once)
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
        return PlanLook(self._models, seen, at_home, capacity, minimum, known)

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
