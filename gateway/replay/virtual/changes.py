"""Changes of a policy of which one may cost less, and what each would have done."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from gateway.policy.model import Policy, WarmRule
from gateway.replay.outcome import Outcome
from gateway.replay.platforms import Platform
from gateway.replay.policy_scenario import PolicyScenario
from gateway.replay.references import reserved
from gateway.replay.traffic import Traffic
from gateway.replay.tuning import Way
from gateway.replay.virtual.played import Assumed, play


class Changes:
    """Of the model of a scenario."""

    def __init__(self, policy: Policy, found: PolicyScenario, now: float) -> None:
        """``now``: seconds since 1970, whose prices hold."""
        self._policy, self._found, self._now = policy, found, now

    def ways(self, fleet: int) -> list[Way]:
        """Today's; workers of the platform by plan; a reserved ``fleet`` alone; the platform
        alone."""
        return [
            self._way("today", self._policy),
            self._way("planned", self.planned(most_of(fleet))),
            self._reserved(fleet),
            self._way("serverless", self._served_by(self._found.overflow)),
        ]

    def planned(self, most: int) -> Policy:
        """With so many workers of the platform at most, which calls wait for."""
        rules, name = self._policy.warm_pool, self._found.overflow
        rule = msgspec.structs.replace(rules.get(name, WarmRule()), plan="act", most=most)
        return msgspec.structs.replace(self._policy, warm_pool={**rules, name: rule})

    def _served_by(self, backend: str) -> Policy:
        models, name = self._policy.models, self._found.model
        spec = msgspec.structs.replace(models[name], backends=(backend,))
        return msgspec.structs.replace(self._policy, models={**models, name: spec})

    def _reserved(self, fleet: int) -> Way:
        """Where the policy has nothing reserved, the fleet is simulated by itself."""
        home = self._found.home
        if home is None:
            return Way("reserved", lambda traffic, platform, _: reserved(traffic, platform, fleet))
        return self._way("reserved", self._served_by(home), {home: fleet})

    def _way(self, name: str, policy: Policy, slots: Mapping[str, int] | None = None) -> Way:
        home, gpus = self._found.home, self._found.gpus
        given = slots if slots is not None else {} if home is None else {home: gpus}
        assumed = Assumed(model=self._found.model, now=self._now, slots=given)

        def run(traffic: Traffic, _: Platform, seed: int) -> Outcome:
            return play(policy, traffic, assumed, seed=seed).outcome

        return Way(name, run)


def most_of(fleet: int) -> int:
    """Workers that the platform may be told to keep, beside what a reserved fleet would be: no
    fewer than a policy allows by itself."""
    return max(10, fleet)
