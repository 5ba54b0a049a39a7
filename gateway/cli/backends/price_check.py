"""What a platform asks today for a worker's second, beside the price that the policy has."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from typing import Any

import msgspec

from adapters import base
from adapters.base import Backend
from adapters.errors import BackendError
from adapters.types import AskedPrice
from gateway.money.pricing import second_rate
from gateway.money.text import usd
from gateway.policy.model import BackendSpec
from gateway.policy.sections.price import RATES, Price
from gateway.types import MICRO

TOLERANCE = 0.01
"""A price that is off by no more counts as the same."""
_HOUR = 3600
_STEPS = ("minimum", "round_up")
_KEPT = tuple(name for name in RATES if name != "per_second")


class PriceAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """``prices``, or why there are none."""

    prices: tuple[AskedPrice, ...] = ()
    unsaid: str = ""

    @property
    def dearest(self) -> AskedPrice:
        """The highest price a second. Raises ValueError where no price is known."""
        return max(self.prices, key=lambda asked: asked.per_second_nano)

    def off_by(self, price: Price | None) -> float | None:
        """By what share the policy's price lies below (-) or above all that is asked; 0 where it
        lies between. None where there is nothing to compare: no price, or one of tokens alone."""
        rate = 0 if price is None else second_rate(price)
        if not rate or not self.prices:
            return None
        low = min(asked.per_second_nano for asked in self.prices)
        nearest = min(max(rate, low), self.dearest.per_second_nano)
        return (rate - nearest) / nearest

    def differs(self, price: Price | None) -> bool:
        """Whether a person should look at the policy's price."""
        off = self.off_by(price)
        return off is not None and abs(off) > TOLERANCE


async def ask(backend: Backend) -> PriceAnswer | None:
    """What a started backend's platform asks; None for a kind whose platform says nothing."""
    if not isinstance(backend, base.Priced):
        return None
    try:
        return PriceAnswer(prices=tuple(await backend.asked_prices()))
    except BackendError as error:
        return PriceAnswer(unsaid=error.message)


def yaml_of(
    asked: PriceAnswer, spec: BackendSpec, price: Price | None, today: datetime.date
) -> str:
    """The line to write under ``prices``: the dearest that is asked, for a hold must cover it."""
    dearest = asked.dearest
    rate = {"per_second": usd(dearest.per_second_nano)}
    if price is not None and price.per_second is None and price.per_hour is not None:
        rate = {"per_hour": usd(dearest.per_second_nano * _HOUR)}
    kept = {name: usd(value) for name in _KEPT if (value := getattr(price, name, None)) is not None}
    kept |= {name: f"{us / MICRO:g}s" for name in _STEPS if (us := getattr(price, name, None))}
    bills = ", ".join(price.bills if price is not None else ("start", "run", "idle"))
    told = {**rate, **kept, "bills": f"[{bills}]", "as_of": str(today)}
    pairs = ", ".join(f"{name}: {value}" for name, value in told.items())
    name = spec.common.price or f"{spec.name}-price"
    return f'{name}: {{{pairs}, source: "{dearest.source}"}}'


def as_json(
    asked: PriceAnswer, spec: BackendSpec, price: Price | None, today: datetime.date
) -> dict[str, Any]:
    """What the platform asks beside the policy's price, for ``--json``."""
    off = asked.off_by(price)
    return {
        "prices": [
            {
                "usd_per_second": usd(one.per_second_nano),
                "device": one.device,
                "devices": one.devices,
                "source": one.source,
            }
            for one in asked.prices
        ],
        "unsaid": asked.unsaid or None,
        "off_by": None if off is None else round(off, 6),
        "differs": asked.differs(price),
        "yaml": yaml_of(asked, spec, price, today) if asked.prices else None,
    }


def lines_of(
    asked: PriceAnswer, spec: BackendSpec, price: Price | None, today: datetime.date
) -> Iterator[tuple[str, str]]:
    """The same as (label, text) lines for a terminal."""
    if not asked.prices:
        yield "asked", f"not known: {asked.unsaid or 'the platform names no price'}"
        return
    for one in asked.prices:
        devices = f"{one.devices} x " if one.devices > 1 else ""
        yield "asked", f"${usd(one.per_second_nano)} a second of {devices}{one.device}"
    off = asked.off_by(price)
    if off is not None and not asked.differs(price):
        yield "", "the policy's price agrees with it"
        return
    yield "", _verdict(off, price) + "; under prices, the policy would say today:"
    yield "", "  " + yaml_of(asked, spec, price, today)


def _verdict(off: float | None, price: Price | None) -> str:
    if price is None:
        return "the policy has no price"
    if off is None:
        return "the policy's price is not one of time"
    return f"the policy's price DIFFERS: it is {abs(off):.1%} {'above' if off > 0 else 'below'} it"
