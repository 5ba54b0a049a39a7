"""Keeping a call's hold ahead of its run: more is held before the first hold is used up.

A call whose limits have no room for more ends when its hold is used up, so that what is settled
never passes a cap, however long the call would have run. A wait in a platform's own queue uses up
nothing: a call is not stopped for money before it has cost any.
"""

from __future__ import annotations

from gateway.calls.attempt import Attempt
from gateway.calls.state import CallState
from gateway.clock import Clock
from gateway.routing.router import Quote
from gateway.shared_timer import EVERY_S, SharedTimer
from gateway.storage.base import LedgerRow, SharedStore, StorageUnavailable
from gateway.tasks import BackgroundTasks
from gateway.types import MICRO, Unit

_AT = 0.75
"""The share of the held seconds after which more is held."""


class TopUp:
    """Watches the calls whose time costs something."""

    def __init__(
        self,
        *,
        shared: SharedStore,
        clock: Clock,
        timer: SharedTimer,
        background: BackgroundTasks,
    ) -> None:
        self._shared = shared
        self._clock = clock
        self._timer = timer
        self._background = background

    def arm(self, state: CallState, attempt: Attempt) -> None:
        """From now on more is held before the hold of the attempt's quote is used up."""
        since = self._clock.monotonic()
        lasts = max(attempt.quote.hold_s * _AT - EVERY_S, 0.0)

        def look(now: float) -> None:
            if now >= max(since, attempt.charged_from()) + lasts:
                self._timer.unwatch(state)
                self._background.run(self._extend(state, attempt))

        self._timer.watch(state, look)

    def disarm(self, state: CallState) -> None:
        """The attempt is over: nothing more is held for it."""
        self._timer.unwatch(state)

    async def _extend(self, state: CallState, attempt: Attempt) -> None:
        if state.attempt is not attempt:
            return
        held = await self._hold_more(state, attempt.quote)
        if state.attempt is not attempt:
            return
        if held:
            self.arm(state, attempt)
        else:
            self._stop_at_the_end(state, attempt)

    def _stop_at_the_end(self, state: CallState, attempt: Attempt) -> None:
        """There is no room for more: the call is stopped when its hold is used up."""
        hold_s = attempt.quote.hold_s
        end = self._clock.monotonic() + hold_s * (1 - _AT)

        def look(now: float) -> None:
            if now + EVERY_S >= max(end, attempt.charged_from() + hold_s):
                self._timer.unwatch(state)
                state.stop("budget")

        self._timer.watch(state, look)

    async def cover(self, state: CallState, charged: LedgerRow) -> bool:
        """Holds once more what a failed attempt has used up of the hold, so that the next one has
        the whole of it; False where the limits have no room for that."""
        return await self._hold(state, {"gpu_us": charged.gpu_us, "nano_usd": charged.cost_nano})

    async def _hold_more(self, state: CallState, quote: Quote) -> bool:
        more: dict[Unit, int] = {
            "gpu_us": round(quote.hold_s * MICRO),
            "nano_usd": round(quote.estimate.per_second * quote.hold_s),
        }
        return await self._hold(state, more)

    async def _hold(self, state: CallState, more: dict[Unit, int]) -> bool:
        limited = {claim.unit for claim in state.admission.claims}
        try:
            for unit, amount in more.items():
                if unit not in limited or not amount:
                    continue
                if not await self._shared.extend(state.call.id, unit, amount):
                    return False
        except StorageUnavailable:
            return False
        state.hold_more(more["nano_usd"])
        return True
