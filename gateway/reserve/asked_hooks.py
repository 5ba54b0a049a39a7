"""The hooks of an instance, asked with what the policy in force says."""

from __future__ import annotations

import logging
from collections.abc import Callable

from gateway.active_policy import ActivePolicy
from gateway.policy.sections.reserve import Reserve
from gateway.reserve.hooks import Action, HookOutcome, Hooks
from gateway.reserve.rented import Rented

log = logging.getLogger("spillgate")


class AskedHooks:
    """Neither raises, cancellation apart: what went wrong unforeseen nobody knows the end of."""

    def __init__(self, hooks: Hooks, active: Callable[[], ActivePolicy]) -> None:
        self._hooks = hooks
        self._active = active

    async def start(self, one: Rented, rule: Reserve) -> HookOutcome:
        """By its reserve."""
        return await self._ask(rule.start, "start", one, rule)

    async def stop(self, one: Rented) -> HookOutcome:
        """By its reserve; where that has left the policy, by what was written down."""
        rule = self._active().policy.reserve.get(one.reserve)
        return await self._ask(one.stop if rule is None else rule.stop, "stop", one, rule)

    async def _ask(
        self, hook: str, action: Action, one: Rented, rule: Reserve | None
    ) -> HookOutcome:
        token = "" if rule is None or rule.token is None else rule.token.reveal()
        try:
            return await self._hooks.call(hook, action, one, token)
        except Exception as error:
            log.exception("the hook of instance %s", one.id)
            return HookOutcome(None, type(error).__name__)
