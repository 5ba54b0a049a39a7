"""What the limits of a larger model hold of a call that has become one of it: taken before its
backends are asked, and ended with the call, under an id of its own.

Those of the model that its caller asked for are held with the admission, to the end.
"""

from __future__ import annotations

from collections.abc import Sequence

from adapters.types import Call
from gateway.active_policy import ActivePolicy
from gateway.calls.admission import claims_for, counted_amounts, widened_hold, without_dearest
from gateway.calls.backend_limits import hold_again
from gateway.calls.state import CallState
from gateway.clock import Clock
from gateway.routing.repeating import WhyNot
from gateway.routing.router import Quote
from gateway.storage.base import Admitted, Hold, Refused, SharedStore, StorageUnavailable
from gateway.storage.claims import ClaimTemplate

Held = tuple[tuple[Quote, ...], Hold | None]
"""The quotes that there is room for, and what is held for them; None where nothing is limited."""
_NO_ROOM: WhyNot = "model_limit"


class ModelLimits:
    """Holds in the limits of larger models."""

    def __init__(self, *, shared: SharedStore, clock: Clock) -> None:
        self._shared = shared
        self._clock = clock

    def foresee(
        self, active: ActivePolicy, state: CallState, call: Call, quotes: Sequence[Quote]
    ) -> None:
        """The call counts as many tokens as ``call`` of the larger model may be, wherever tokens
        are limited."""
        template = self._template(active, call.model)
        if template is not None:
            state.bound_output(template)
            if template.rest:
                state.count(counted_amounts(active, call, state.preferences, template, quotes))

    async def hold(
        self, active: ActivePolicy, state: CallState, call: Call, quotes: tuple[Quote, ...]
    ) -> Held:
        """Holds what ``call`` of the larger model may need for the dearest quote that its limits
        have room for; no quotes where there is none."""
        template = self._template(active, call.model)
        if template is None:
            return quotes, None
        left, why = quotes, _NO_ROOM
        while left:
            claims = claims_for(active, call, state.preferences, template, left)
            hold = Hold(_hold_id(call), tuple(claims))
            try:
                answer = await self._admit(state, hold)
            except StorageUnavailable:
                why = "store"
                break
            if isinstance(answer, Admitted):
                return left, hold
            left = without_dearest(left) if answer.status.claim.unit == "nano_usd" else ()
        state.leave_out([quote.backend for quote in quotes], why)
        return (), None

    async def _admit(self, state: CallState, hold: Hold) -> Admitted | Refused:
        ttl_s = state.hold_lasts_s(self._clock.monotonic())
        return await self._shared.admit(hold.id, hold.claims, ttl_s)

    async def reinstate(self, active: ActivePolicy, state: CallState) -> bool:
        """A call of a larger model holds the same again, where the store has forgotten it, and in
        the limits that the policy has brought since: then True. Raises StorageUnavailable."""
        call, hold, now = state.call, state.at_model, self._clock.monotonic()
        if call.model == state.asked_model:
            return False
        template = self._template(active, call.model)
        if template is not None:
            if template.rest:
                state.count(counted_amounts(active, call, state.preferences, template, ()))
            known = hold or Hold(_hold_id(call), ())
            state.at_model = widened_hold(known, template, state.asked_to_hold(now))
        return await hold_again(self._shared, state, hold, state.at_model, now)

    def _template(self, active: ActivePolicy, model: str) -> ClaimTemplate | None:
        return active.model_template(model, self._clock.time())


def _hold_id(call: Call) -> str:
    return f"{call.id}~{call.model}"
