"""/admin/policy/shadow: another policy's routes beside those in force, for nobody or for some."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from gateway.active_policy import ActivePolicy
from gateway.api.admin.policy import asked, by, read
from gateway.api.requests.request import Scope
from gateway.service import Gateway
from gateway.together import ToldTrial
from gateway.trials.comparison import TrialCounts, together
from gateway.trials.trial import TrialPolicy, as_shared, check_routes_alone
from gateway.types import ApiError

_NOTHING = {"candidate": None}
_WITHIN_S = 3.0
_LOOK_S = 0.02
_counts = msgspec.msgpack.Decoder(TrialCounts).decode


async def show(gateway: Gateway, scope: Scope, body: bytes) -> tuple[int, Any]:
    """How the decisions of the two differ so far, in all processes together."""
    active = gateway.active
    if not isinstance(active, TrialPolicy):
        return 200, _NOTHING
    if gateway.together is None:
        return 200, active.as_json()
    each = [_counts(report) for report in await gateway.together.trials()]
    return 200, active.as_json(together(active.comparison.counts.trial, each))


async def begin(gateway: Gateway, scope: Scope, body: bytes) -> tuple[int, Any]:
    """The policy in the body decides beside the one in force, and for ``percent`` of the users
    instead of it, in every process. Raises ApiError 400 for what is no policy or no percentage, 409
    where more than routes differ."""
    percent = _percent(scope)
    policy = await read(gateway, body)
    if gateway.together is not None:
        policy = as_shared(policy, gateway.active.policy)
    check_routes_alone(gateway.active.policy, policy)
    await gateway.policies.tried(policy, by(scope))
    since = gateway.clock.time()
    if gateway.together is None:
        await gateway.exchange(
            lambda active: TrialPolicy(active, policy, percent=percent, since=since)
        )
    else:
        in_force = gateway.active.policy.version
        gateway.together.tell_of_trial(ToldTrial(policy.document, in_force, percent, since))
        await _until(gateway, lambda active: _began(active) == since)
    return await show(gateway, scope, body)


async def end(gateway: Gateway, scope: Scope, body: bytes) -> tuple[int, Any]:
    """Everybody gets the policy in force; answers with how the two differed. In every process, and
    so from one in which the trial could not begin."""
    told, since = await show(gateway, scope, body), _began(gateway.active)
    if gateway.together is not None:
        gateway.together.tell_of_trial(ToldTrial(since=since or 0.0))
        await _until(gateway, lambda active: since is None or _began(active) != since)
    elif since is not None:
        await gateway.exchange(lambda active: ActivePolicy(active.policy, active.backends))
    return told


def _began(active: ActivePolicy) -> float | None:
    return active.since if isinstance(active, TrialPolicy) else None


async def _until(gateway: Gateway, done: Callable[[ActivePolicy], bool]) -> None:
    """Waits for the parent process, which tells all. Raises ApiError 503 where it does not."""
    until = gateway.clock.monotonic() + _WITHIN_S
    while not done(gateway.active):
        if gateway.clock.monotonic() >= until:
            text = "The processes that serve together could not agree on it; ask again."
            raise ApiError(503, "store_unavailable", text)
        await gateway.clock.sleep(_LOOK_S)


def _percent(scope: Scope) -> float:
    given = asked(scope, "percent").get("percent", "0")
    try:
        percent = float(given)
    except ValueError:
        percent = -1.0
    if not 0 <= percent <= 100:
        text = f"percent is a number from 0 to 100, not {given!r}."
        raise ApiError(400, "invalid_parameter", text, param="percent")
    return percent
