"""The policy in force while another one is tried beside it.

Both have the same backends, models, prices and limits: a candidate differs in its routes alone, so
that whoever gets it can pass no limit, and nothing need be started for it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from adapters.types import Call
from gateway.active_policy import ActivePolicy, Queued
from gateway.money.text import iso
from gateway.policy.model import Policy
from gateway.policy.sections.user_shares import share_of
from gateway.preferences import Preferences
from gateway.routing.router import Decision
from gateway.trials.comparison import TrialComparison, TrialCounts
from gateway.types import ApiError, Principal

log = logging.getLogger("spillgate")

_OF_ROUTES = ("version", "document", "routes")


class TrialPolicy(ActivePolicy):
    """Decides as the policy in force does, and beside it as the ``candidate``, whose decisions
    are compared and otherwise forgotten; but for ``percent`` of the users, who get its routes."""

    def __init__(
        self, in_force: ActivePolicy, candidate: Policy, *, percent: float, since: float
    ) -> None:
        """``since``: seconds since the epoch. Raises ApiError 409 for a candidate that differs in
        more than its routes."""
        check_routes_alone(in_force.policy, candidate)
        super().__init__(in_force.policy, in_force.backends)
        self.candidate = ActivePolicy(candidate, in_force.backends)
        self.percent = percent
        self.since = since
        self.comparison = TrialComparison(f"{candidate.version}@{since}")

    def of(self, user: str) -> ActivePolicy:
        return self.candidate if share_of(user) < self.percent else self

    def candidates(self) -> Sequence[ActivePolicy]:
        return (self.candidate,)

    def decide(
        self,
        call: Call,
        principal: Principal,
        preferences: Preferences,
        *,
        now: float,
        per_day: Callable[[], float],
        draw: Callable[[], float],
        queued: Queued | None = None,
        whenever: bool = False,
    ) -> Decision:
        """A call that waits already, or is to run later, is compared once: when it came."""
        decision = super().decide(
            call,
            principal,
            preferences,
            now=now,
            per_day=per_day,
            draw=draw,
            queued=queued,
            whenever=whenever,
        )
        if queued is None and not whenever:
            try:
                other = self.candidate.decide(
                    call, principal, preferences, now=now, per_day=per_day, draw=draw
                )
                self.comparison.add(decision, other)
            except Exception:
                self.comparison.failed += 1
                log.exception("the policy %s cannot decide", self.candidate.policy.version)
        return decision

    def as_json(self, counts: TrialCounts | None = None) -> dict[str, Any]:
        """How it stands; ``counts``: of all processes."""
        counts = counts or self.comparison.counts
        return {
            "candidate": self.candidate.policy.version,
            "percent": self.percent,
            "since": iso(self.since, "milliseconds"),
            "in_force": self.policy.version,
            "predicted": counts.as_json(),
        }


def check_routes_alone(in_force: Policy, candidate: Policy) -> None:
    """Raises ApiError 409 where anything else differs, and says what."""
    names = [
        name
        for name in in_force.__struct_fields__
        if name not in _OF_ROUTES and getattr(in_force, name) != getattr(candidate, name)
    ]
    if names:
        text = (
            f"Only the routes of a policy can be tried; this one differs in {', '.join(names)}. "
            "Apply that part first, or all of it."
        )
        raise ApiError(409, "more_than_routes", text, param=names[0])


def as_shared(candidate: Policy, in_force: Policy) -> Policy:
    """The candidate with the room for clients that this one of several processes has: each has its
    part of what the policy says."""
    clients = in_force.server.clients
    server = msgspec.structs.replace(candidate.server, clients=clients)
    return msgspec.structs.replace(candidate, server=server)
