"""Whether a call in line should go elsewhere. Pure: a fresh decision in, an order out."""

from __future__ import annotations

from gateway.calls.state import CallState
from gateway.routing.router import Decision, Quote

CLEARLY_SOONER = 0.7
"""Another backend must promise at most this share of the wait that is left: predictions err, and
a call that goes back and forth is answered last."""


class Rerouted(Exception):
    """Raised to a call in line: ``quotes`` are to be tried in its place, in this order."""

    def __init__(self, decision: Decision, quotes: tuple[Quote, ...]) -> None:
        super().__init__("rerouted")
        self.decision = decision
        self.quotes = quotes

    def take(self, state: CallState, old: Quote) -> tuple[Quote, ...]:
        """The call is led on by the fresh decision: the quotes in order, with ``old``, by which it
        stood in line, as the last where that backend may be asked but would now need more than is
        held. For that one it was held."""
        state.routed(self.decision)
        known = any(quote.backend == old.backend for quote in self.quotes)
        may_be_asked = any(quote.backend == old.backend for quote in self.decision.quotes)
        quotes = self.quotes if known or not may_be_asked else (*self.quotes, old)
        state.narrowed(quotes)
        return quotes


def reroute(decision: Decision, state: CallState, backend: str) -> Rerouted | None:
    """``backend`` is where the call waits. Only what the call's hold covers comes into question,
    and no backend that has failed it. None: it stays."""
    failed = {one.backend for one in state.tried}
    quotes = tuple(
        quote for quote in decision.quotes if state.covers(quote) and quote.backend not in failed
    )
    if not quotes or decision.quotes[0].backend == backend or quotes[0].backend == backend:
        return None
    here = next((quote for quote in quotes if quote.backend == backend), None)
    if here is not None and quotes[0].delay.seconds > here.delay.seconds * CLEARLY_SOONER:
        return None
    return Rerouted(decision, quotes)
