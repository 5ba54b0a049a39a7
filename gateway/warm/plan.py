"""Which backends to wake, ping or scale now. Pure: a rule and a view in, actions out."""

from __future__ import annotations

import msgspec

from gateway.policy.hours import within
from gateway.policy.model import WarmRule

_WAKE_EVERY_S = 30.0
"""A wake-up that did not help is repeated no sooner."""


class WarmView(msgspec.Struct, frozen=True, kw_only=True):
    """A backend as the warm pool sees it; ages in seconds."""

    warm_idle: int
    in_flight: int
    rested_s: float
    """Since it last ended a call or a ping."""
    since_call_s: float | None
    """Since the last call of a caller; ``None``: none yet."""
    since_ping_s: float | None
    """Since the last ping was sent; ``None``: none yet."""
    learned_s: float
    """How long after a call it pays to keep it warm."""
    scalable: bool
    """The platform can be told how many workers to keep."""


class WarmActions(msgspec.Struct, frozen=True):
    """What is to be done now."""

    pings: int = 0
    """Pings to send at once; each reaches one worker."""
    workers: int | None = None
    """What to tell the platform; ``None``: nothing to tell."""
    reason: str = ""


def plan(rule: WarmRule, view: WarmView, now_at: float) -> WarmActions:
    """What keeps the rule at ``now_at`` (seconds since the epoch)."""
    open_now = within(rule.hours, now_at, rule.ahead)
    none, workers = (0, rule.spare) if view.scalable else (None, None)
    if not open_now:
        return WarmActions(0, none, "outside the hours")
    wanted = max(1, 0 if view.scalable else rule.spare)
    missing = wanted - view.warm_idle - view.in_flight
    if rule.keep == "none":
        opening = not within(rule.hours, now_at, 0.0)
        return WarmActions(_wake(missing, view) if opening else 0, workers, "ahead of the hours")
    if rule.keep == "learned" and not _worth_keeping(rule, view, now_at):
        return WarmActions(0, none, "a next call is not likely soon enough")
    if view.in_flight == 0 and view.rested_s >= rule.ping_every and _may_ping(rule, view):
        return WarmActions(max(wanted, 1), workers, "rested too long")
    return WarmActions(_wake(missing, view), workers, "cold")


def _worth_keeping(rule: WarmRule, view: WarmView, now_at: float) -> bool:
    if rule.hours is not None and not within(rule.hours, now_at, 0.0):
        return True
    return view.since_call_s is not None and view.since_call_s < view.learned_s


def _may_ping(rule: WarmRule, view: WarmView) -> bool:
    return view.since_ping_s is None or view.since_ping_s >= rule.ping_every


def _wake(missing: int, view: WarmView) -> int:
    """Pings that start what is missing, unless a wake-up was sent just now."""
    if missing <= 0 or (view.since_ping_s is not None and view.since_ping_s < _WAKE_EVERY_S):
        return 0
    return missing
