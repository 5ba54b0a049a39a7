"""Keeping a call's hold ahead of its run: more is held before the first hold is used up.

A call whose limits have no room for more ends when its hold is used up, so that what is settled
never passes a cap, however long the call would have run.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from gateway.clock import Clock
from gateway.exchange import Exchange
from gateway.routing.router import Quote
from gateway.storage.base import SharedStore, StoreUnavailable
from gateway.types import MICRO, Unit

_AT = 0.75
"""The share of the held seconds after which more is held."""
_SHORTEST_S = 0.05

Run = Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]]


class TopUp:
    def __init__(self, *, shared: SharedStore, clock: Clock, run: Run) -> None:
        self._shared = shared
        self._clock = clock
        self._run = run

    def arm(self, exchange: Exchange, quote: Quote) -> None:
        """Starts the timer of the next top-up; one is armed at a time."""
        self.disarm(exchange)
        exchange.guard = self._clock.call_later(
            max(quote.hold_s * _AT, _SHORTEST_S),
            lambda: _ignore(self._run(self._extend(exchange, quote))),
        )

    def disarm(self, exchange: Exchange) -> None:
        if exchange.guard is not None:
            exchange.guard.cancel()
            exchange.guard = None

    async def _extend(self, exchange: Exchange, quote: Quote) -> None:
        if exchange.settled or exchange.quote is not quote:
            return
        if await self._held_more(exchange, quote):
            self.arm(exchange, quote)
            return
        rest = max(quote.hold_s * (1 - _AT), 0.0)
        exchange.guard = self._clock.call_later(rest, lambda: exchange.stop("budget"))

    async def _held_more(self, exchange: Exchange, quote: Quote) -> bool:
        limited = {claim.unit for claim in exchange.claims}
        more: dict[Unit, int] = {
            "gpu_us": round(quote.hold_s * MICRO),
            "nano_usd": round(quote.estimate.per_second * quote.hold_s),
        }
        try:
            for unit, amount in more.items():
                if unit not in limited or not amount:
                    continue
                if not await self._shared.extend(exchange.call.id, unit, amount):
                    return False
        except StoreUnavailable:
            return False
        exchange.hold_nano += more["nano_usd"]
        return True


def _ignore(_: object) -> None:
    """A timer's callback returns nothing."""
