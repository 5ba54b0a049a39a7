"""/admin/policy/shadow: another policy's routes beside those in force, for nobody or for some."""

from __future__ import annotations

from typing import Any

from gateway.active_policy import ActivePolicy
from gateway.api.admin.policy import asked, by, read
from gateway.api.requests.request import Scope
from gateway.service import Gateway
from gateway.trials.trial import TrialPolicy, check_routes_alone
from gateway.types import ApiError

_NOTHING = {"candidate": None}


async def show(gateway: Gateway, scope: Scope, body: bytes) -> tuple[int, Any]:
    """How the decisions of the two differ so far."""
    active = gateway.active
    return 200, active.as_json() if isinstance(active, TrialPolicy) else _NOTHING


async def begin(gateway: Gateway, scope: Scope, body: bytes) -> tuple[int, Any]:
    """The policy in the body decides beside the one in force, and for ``percent`` of the users
    instead of it. Raises ApiError 400 for what is no policy or no percentage, 409 where more than
    routes differ, and where several processes serve."""
    if gateway.together is not None:
        text = "Several processes serve, of which only one would try it: use one process for that."
        raise ApiError(409, "several_processes", text)
    percent = _percent(scope)
    policy = await read(gateway, body)
    check_routes_alone(gateway.active.policy, policy)
    await gateway.policies.tried(policy, by(scope))
    since = gateway.clock.time()
    await gateway.exchange(lambda active: TrialPolicy(active, policy, percent=percent, since=since))
    return await show(gateway, scope, body)


async def end(gateway: Gateway, scope: Scope, body: bytes) -> tuple[int, Any]:
    """Everybody gets the policy in force; answers with how the two differed."""
    told = await show(gateway, scope, body)
    if isinstance(gateway.active, TrialPolicy):
        await gateway.exchange(lambda active: ActivePolicy(active.policy, active.backends))
    return told


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
