"""What one backend charges now: its tariff, asked by the clock of the gateway."""

from __future__ import annotations

from adapters.base import Clock
from gateway.money.tariffs import PriceInForce, Tariff
from gateway.policy.model import BackendCommon
from gateway.policy.sections.price import DatedPrices, Price

_LONGEST_START_S = 600.0


class CurrentPrice:
    """``tariff`` is changed by a reload; calls under way keep what they were quoted by."""

    def __init__(self, prices: DatedPrices | None, common: BackendCommon, clock: Clock) -> None:
        self.tariff = Tariff(prices)
        self._clock = clock
        self._lasts_s = 2 * common.max_run + _LONGEST_START_S
        """Until a call that is quoted now has waited, found a worker and run."""

    def __eq__(self, other: object) -> bool:
        """Whether the policy says the same of both."""
        return isinstance(other, CurrentPrice) and other.tariff.prices == self.tariff.prices

    __hash__ = object.__hash__

    @property
    def price(self) -> Price | None:
        """By what a call is charged that is sent now."""
        found = self.in_force()
        return None if found is None else found.price

    def in_force(self) -> PriceInForce | None:
        """The same, with the dearest that may come true while such a call lasts."""
        tariff = self.tariff
        if not tariff.varies:
            return tariff.constant
        return tariff.at(self._clock.time(), self._lasts_s)
