"""What the limits of a backend itself hold of a call: taken when the call has its slot there, and
ended with its attempt there, each under an id of its own."""

from __future__ import annotations

from gateway.active_policy import ActivePolicy
from gateway.backends.leases import Lease
from gateway.backends.live import LiveBackend
from gateway.calls.admission import claims_for, widened_hold
from gateway.calls.attempt import AtBackend
from gateway.calls.state import CallState
from gateway.clock import Clock
from gateway.holds.full import FullLimits
from gateway.routing.repeating import WhyNot
from gateway.routing.router import Quote
from gateway.storage.base import Hold, Refused, SharedStore


class NotEntered(Exception):
    """Raised to a call that a backend is not asked for after all."""

    def __init__(self, why: WhyNot) -> None:
        super().__init__(why)
        self.why = why


class NoRoom(NotEntered):
    """Raised to a call for which a limit of the backend has no room."""

    def __init__(self, refused: Refused) -> None:
        super().__init__("backend_limit")
        self.refused = refused


class TooLate(NotEntered):
    """Raised to a call that has ``left_s`` seconds when a backend has a place for it, where none
    was seen to run for less than ``least_s``."""

    def __init__(self, least_s: float, left_s: float) -> None:
        super().__init__("deadline")
        self.least_s, self.left_s = least_s, left_s


class BackendLimits:
    """Holds in the limits of backends."""

    def __init__(self, *, shared: SharedStore, clock: Clock, full: FullLimits) -> None:
        """``full``: those that had no room a moment ago."""
        self._shared = shared
        self._clock = clock
        self._full = full

    def foresee(self, active: ActivePolicy, state: CallState, quote: Quote) -> Hold | None:
        """What would be held for the quote; None where nothing limits its backend. Where an answer
        has no bound of its own, it is given one from here on, if what it costs is limited. Raises
        NoRoom where it is known that there is none."""
        template = active.backend_template(quote.backend, self._clock.time())
        if template is None:
            return None
        state.bound_output(template)
        wanted = state.preferences
        claims = claims_for(active, state.call, wanted, template, (quote,))
        refused = self._full.refuses(claims) if self._full.known else None
        if refused is not None:
            raise NoRoom(refused)
        return Hold(_hold_id(state, quote), tuple(claims))

    async def take(self, state: CallState, hold: Hold, backend: LiveBackend, lease: Lease) -> None:
        """Takes it, or gives the slot back and raises NoRoom, or StorageUnavailable."""
        ttl_s = state.hold_lasts_s(self._clock.monotonic())
        try:
            answer = await self._shared.admit(hold.id, hold.claims, ttl_s)
            if isinstance(answer, Refused):
                self._full.saw(answer)
                raise NoRoom(answer)
        except BaseException:
            backend.end(lease, state.call.model, None, None)
            raise
        state.at_backend = hold

    async def reinstate(self, active: ActivePolicy, state: CallState) -> bool:
        """A call that is at a backend holds the same again, where the store has forgotten it, and
        in the limits that the policy has brought since: then True. So it does at both, where it is
        at two. Raises StorageUnavailable."""
        widened = await self._again(active, state, state)
        if state.other is not None:
            widened = await self._again(active, state, state.other) or widened
        return widened

    async def _again(self, active: ActivePolicy, state: CallState, at: AtBackend) -> bool:
        attempt, hold, now = at.attempt, at.at_backend, self._clock.monotonic()
        if attempt is None:
            return False
        quote = attempt.quote
        template = active.backend_template(quote.backend, self._clock.time())
        if template is not None:
            rest = claims_for(active, state.call, state.preferences, template, (quote,)).rest
            known = Hold(_hold_id(state, quote), ()) if hold is None else hold
            at.at_backend = widened_hold(known, template, state.asked_at(attempt, now) | dict(rest))
        return await hold_again(self._shared, state, hold, at.at_backend, now)


async def hold_again(
    shared: SharedStore, state: CallState, before: Hold | None, hold: Hold | None, now: float
) -> bool:
    """What a call holds beside its admission is held by the store, and given back where the call
    has left it meanwhile. Whether it is in more limits than ``before``. ``now``: monotonic seconds.
    Raises StorageUnavailable."""
    if hold is None:
        return False
    await shared.reinstate(hold.id, hold.claims, state.hold_lasts_s(now))
    if all(one is None or one.id != hold.id for one in _beside(state)):
        await shared.release(hold.id)
    return len(hold.claims) > (0 if before is None else len(before.claims))


def _beside(state: CallState) -> tuple[Hold | None, ...]:
    other = state.other
    return (*state.beside, None if other is None else other.at_backend)


def _hold_id(state: CallState, quote: Quote) -> str:
    return f"{state.call.id}@{quote.backend}.{len(state.tried)}"
