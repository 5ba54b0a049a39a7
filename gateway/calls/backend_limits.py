"""What the limits of a backend itself hold of a call: taken when the call has its slot there, and
ended with its attempt there, each under an id of its own."""

from __future__ import annotations

from gateway.active_policy import ActivePolicy
from gateway.backends.leases import Lease
from gateway.backends.live import LiveBackend
from gateway.calls.admission import counted_amounts, widened
from gateway.calls.state import CallState
from gateway.clock import Clock
from gateway.routing.router import Quote, device_us
from gateway.storage.base import Hold, Refused, SharedStore
from gateway.storage.claims import CallClaims, ClaimTemplate
from gateway.types import Unit


class NoRoom(Exception):
    """Raised to a call for which a limit of the backend has no room."""

    def __init__(self, refused: Refused) -> None:
        super().__init__("a limit of the backend has no room")
        self.refused = refused


class BackendLimits:
    """Holds in the limits of backends."""

    def __init__(self, *, shared: SharedStore, clock: Clock) -> None:
        self._shared = shared
        self._clock = clock

    def foresee(self, active: ActivePolicy, state: CallState, quote: Quote) -> Hold | None:
        """What would be held for the quote; None where nothing limits its backend. Where an answer
        has no bound of its own, it is given one from here on, if what it costs is limited."""
        template = active.backend_template(quote.backend, self._clock.time())
        if template is None:
            return None
        wanted = state.preferences
        limits_output = template.spends or template.tokens
        if limits_output and wanted.unbounded and state.output_bound is None:
            state.output_bound = max(1, wanted.output_tokens // wanted.unbounded)
        claims = self._claims(active, state, template, quote)
        return Hold(f"{state.call.id}@{quote.backend}.{len(state.tried)}", tuple(claims))

    def _claims(
        self, active: ActivePolicy, state: CallState, template: ClaimTemplate, quote: Quote
    ) -> CallClaims:
        rest: dict[Unit, int] = {}
        if template.rest:
            rest = counted_amounts(active, state.call, state.preferences, template, (quote,))
        return CallClaims(template, quote.estimate.hold, device_us((quote,)), rest)

    async def take(self, state: CallState, hold: Hold, backend: LiveBackend, lease: Lease) -> None:
        """Takes it, or gives the slot back and raises NoRoom, or StorageUnavailable."""
        ttl_s = state.hold_lasts_s(self._clock.monotonic())
        try:
            answer = await self._shared.admit(hold.id, hold.claims, ttl_s)
            if isinstance(answer, Refused):
                raise NoRoom(answer)
        except BaseException:
            backend.end(lease, state.call.model, None, None)
            raise
        state.at_backend = hold

    async def reinstate(self, active: ActivePolicy, state: CallState) -> bool:
        """A call that is at a backend holds the same again, where the store has forgotten it, and
        in the limits that the policy has brought since: then True. Raises StorageUnavailable."""
        attempt, hold, now = state.attempt, state.at_backend, self._clock.monotonic()
        if attempt is None:
            return False
        before = 0 if hold is None else len(hold.claims)
        template = active.backend_template(attempt.quote.backend, self._clock.time())
        if template is not None:
            takes = state.asked_to_hold(now) | dict(
                self._claims(active, state, template, attempt.quote).rest
            )
            known = () if hold is None else hold.claims
            hold = Hold(
                f"{state.call.id}@{attempt.quote.backend}.{len(state.tried)}",
                widened(known, template.limits, takes),
            )
            state.at_backend = hold
        if hold is None:
            return False
        await self._shared.reinstate(hold.id, hold.claims, state.hold_lasts_s(now))
        if state.at_backend is not hold:
            await self._shared.release(hold.id)
        return len(hold.claims) > before
