"""A prompt that no backend of its model takes goes on to the larger model that the policy names.

From there on the call is one of that model: decided, quoted, held for, charged and reported as if
its caller had named it. Where it may not go on, nothing has changed, and the caller is told what
the smaller model's backend said.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from adapters.errors import BackendError, FailureClass
from adapters.types import Call
from gateway.active_policy import ActivePolicy
from gateway.calls.attempt import Attempt
from gateway.calls.completion import Completion
from gateway.calls.failover import Failover
from gateway.calls.model_limits import ModelLimits
from gateway.calls.state import CallState
from gateway.calls.top_up import TopUp
from gateway.keys.permitted import may_use
from gateway.routing.repeating import NextStep, may_go_on
from gateway.routing.router import Decision

Decide = Callable[[ActivePolicy, CallState, None, Call], Decision]
"""Routes a caller's call as the one that is given last."""


class LargerModel:
    """Leads calls on that were too long for their model."""

    def __init__(
        self,
        failover: Failover,
        completion: Completion,
        top_up: TopUp,
        limits: ModelLimits,
        decide: Decide,
    ) -> None:
        self._failover = failover
        self._completion = completion
        self._top_up = top_up
        self._limits = limits
        self._decide = decide

    async def next_step(
        self, active: ActivePolicy, state: CallState, attempt: Attempt, failure: BackendError
    ) -> NextStep | None:
        """The backends of the larger model, the call being one of that model then; None where it
        may not go on."""
        call = _enlarged(active, state, attempt, failure)
        if call is None or not self._failover.allows_one_more(active, state):
            return None
        decision = self._decide(active, state, None, call)
        if not decision.quotes:
            return None
        self._failover.end(state, attempt, failure)
        self._limits.foresee(active, state, call, decision.quotes)
        quotes = await self._top_up.hold_for(state, decision.quotes, leaves_model=True)
        held, at_model = await self._limits.hold(active, state, call, quotes)
        if not held:
            return None
        self._completion.end_hold(state, state.becomes(call, decision, at_model))
        await self._top_up.lengthen(state)
        state.narrowed(held)
        return NextStep(held)


def _enlarged(
    active: ActivePolicy, state: CallState, attempt: Attempt, failure: BackendError
) -> Call | None:
    """The call as one of the larger model; None where there is none, the key is not for it,
    or no other may be asked."""
    call = state.call
    larger = active.policy.models[call.model].larger
    if larger is None or not may_use(state.principal.permitted, larger):
        return None
    if failure.failure is not FailureClass.CONTEXT_TOO_LONG:
        return None
    rules = active.rules(call.model, state.route)
    if not may_go_on(rules, failure, attempt.asked(failure)):
        return None
    return msgspec.structs.replace(
        call,
        model=larger,
        body=_renamed(call, larger),
        deadline=max(call.deadline, state.received + active.longest(larger)),
    )


def _renamed(call: Call, model: str) -> bytes:
    """The body that names the model, every other field's bytes as they were; a native call's names
    none."""
    if call.task == "infer":
        return call.body
    fields = msgspec.json.decode(call.body, type=dict[str, msgspec.Raw])
    fields["model"] = msgspec.Raw(msgspec.json.encode(model))
    return msgspec.json.encode(fields)
