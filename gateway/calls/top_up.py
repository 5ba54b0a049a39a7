"""Keeping a call's hold ahead of its run: more is held before the first hold is used up.

A call whose limits have no room for more ends when its hold is used up, so that what is settled
never passes a cap, however long the call would have run. A wait in a platform's own queue uses up
nothing: a call is not stopped for money before it has cost any.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from gateway.calls.state import CallState
from gateway.clock import Clock
from gateway.routing.router import Quote
from gateway.shared_timer import EVERY_S, SharedTimer
from gateway.storage.base import LedgerRow, SharedStore, StorageUnavailable
from gateway.types import MICRO, Unit

_AT = 0.75
"""The share of the held seconds after which more is held."""

Run = Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]]


class TopUp:
    def __init__(self, *, shared: SharedStore, clock: Clock, rounds: SharedTimer, run: Run) -> None:
        self._shared = shared
        self._clock = clock
        self._rounds = rounds
        self._run = run

    def arm(self, exchange: CallState, quote: Quote) -> None:
        """From now on more is held before ``quote``'s hold is used up."""
        since = self._clock.monotonic()
        lasts = max(quote.hold_s * _AT - EVERY_S, 0.0)

        def look(now: float) -> None:
            if now >= max(since, exchange.charged_from()) + lasts:
                self._rounds.leave(exchange)
                self._run(self._extend(exchange, quote))

        self._rounds.join(exchange, look)

    def disarm(self, exchange: CallState) -> None:
        self._rounds.leave(exchange)

    async def _extend(self, exchange: CallState, quote: Quote) -> None:
        if exchange.settled or exchange.quote is not quote:
            return
        if await self._held_more(exchange, quote):
            self.arm(exchange, quote)
            return
        end = self._clock.monotonic() + quote.hold_s * (1 - _AT)

        def look(now: float) -> None:
            if now + EVERY_S >= max(end, exchange.charged_from() + quote.hold_s):
                self._rounds.leave(exchange)
                exchange.stop("budget")

        self._rounds.join(exchange, look)

    async def cover(self, exchange: CallState, attempt: LedgerRow) -> bool:
        """Holds once more what a failed attempt has used up of the hold, so that the next one has
        the whole of it; False where the limits have no room for that."""
        return await self._hold(exchange, {"gpu_us": attempt.gpu_us, "nano_usd": attempt.cost_nano})

    async def _held_more(self, exchange: CallState, quote: Quote) -> bool:
        more: dict[Unit, int] = {
            "gpu_us": round(quote.hold_s * MICRO),
            "nano_usd": round(quote.estimate.per_second * quote.hold_s),
        }
        return await self._hold(exchange, more)

    async def _hold(self, exchange: CallState, more: dict[Unit, int]) -> bool:
        limited = {claim.unit for claim in exchange.claims}
        try:
            for unit, amount in more.items():
                if unit not in limited or not amount:
                    continue
                if not await self._shared.extend(exchange.call.id, unit, amount):
                    return False
        except StorageUnavailable:
            return False
        exchange.hold_nano += more["nano_usd"]
        return True
