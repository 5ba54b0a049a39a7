"""The prices of a backend as they stand at one instant: which of the dated ones, which hours and
which tier hold, and the dearest that may come true while a call lasts. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from adapters.types import ANY_IMAGE, ImageKind, Usage
from gateway.money.charge_records import BILLED, FIGURES, record_of
from gateway.money.token_split import dearest_tokens
from gateway.policy.hours import next_change, within
from gateway.policy.sections.image_rates import priced_as, rate_of
from gateway.policy.sections.price import DatedPrices, DeviceRates, HourlyRates, Price, VolumeRates
from gateway.storage.history import PriceRecord


class WindowUse(msgspec.Struct, frozen=True):
    """How much a backend was used in a calendar window, by its settled rows."""

    ends: float
    """When the window ends, in seconds since 1970-01-01 UTC: from then on nothing was used."""
    counts: Mapping[str, int]
    """What is counted -> how much, by the names of ``VolumeRates.of``."""


Uses = Mapping[str, WindowUse]
"""``day`` and ``month`` -> the use in them."""


class PriceInForce(msgspec.Struct, frozen=True):
    """What is charged for a call that is sent now."""

    price: Price
    """Without anything that differs by hours or use: the rates that hold."""
    dearest: Price
    """What is held by: no rate of it is below one that may come true."""
    record: PriceRecord
    """What the ledger's row keeps of it."""
    devices: dict[str, PriceInForce] = {}
    """The same for calls that ran on a device with rates of its own."""
    by_answer: bool = False
    """Whether what is charged differs by what the answer says: ``settled_by`` has it."""


def settled_by(
    in_force: PriceInForce, used: Usage, asked: ImageKind = ANY_IMAGE
) -> tuple[PriceInForce, Usage]:
    """What a call is charged by that turned out to have run where it did, and to have made what it
    made; its usage is marked as an estimate where nobody said what the price differs by. ``asked``:
    what images its request wanted, of whose answer the words go first."""
    if in_force.devices:
        in_force, used = _by_device(in_force, used)
    if in_force.price.by_image and used.images:
        in_force, used = _by_image(in_force, used, asked)
    return in_force, used


def _by_image(in_force: PriceInForce, used: Usage, asked: ImageKind) -> tuple[PriceInForce, Usage]:
    made = used.image
    kind = ImageKind(made.size or asked.size, made.quality or asked.quality)
    if not rate_of(in_force.price, kind).sure:
        used = msgspec.structs.replace(used, estimated=True)
    price = priced_as(in_force.price, kind)
    return PriceInForce(price, in_force.dearest, record_of(price)), used


def _by_device(in_force: PriceInForce, used: Usage) -> tuple[PriceInForce, Usage]:
    found = in_force.devices.get(used.device or "")
    if found is None:
        return in_force, msgspec.structs.replace(used, estimated=True)
    return found, used


class Tariff:
    """All prices of one backend; None: its calls cost nothing."""

    def __init__(self, prices: DatedPrices | None) -> None:
        self.prices = prices
        self.uses: Uses = {}
        """How much it was used, where ``by_volume`` asks; written by whoever reads the ledger."""
        self._found: dict[tuple[int, ...], PriceInForce] = {}
        entries = () if prices is None else prices.entries
        self._entries = entries
        self._hours = [_HourlyIndex(entry.by_hours) for entry in entries]
        self.varies = len(entries) > 1 or any(map(_varies, entries))
        """With the time, or the use; else ``constant`` is all there is."""
        alone = len(entries) == 1 and not self.varies
        self.constant = self._in_force(0, 0, 0, -1, -1) if alone else None

    def followed_by(self, prices: DatedPrices | None) -> Tariff:
        """What a reload makes of it."""
        if prices == self.prices:
            return self
        following = Tariff(prices)
        following.uses = self.uses
        return following

    def windows(self) -> set[str]:
        """The calendar windows in which its use must be known."""
        volumes = (entry.by_volume for entry in self._entries)
        return {volume.per for volume in volumes if volume is not None}

    def at(self, now: float, lasts_s: float) -> PriceInForce | None:
        """``now``: seconds since 1970-01-01 UTC. ``lasts_s``: the longest until a call that is
        quoted now has ended."""
        prices = self.prices
        if prices is None or self.constant is not None:
            return self.constant
        begins, ends = prices.index_at(now), prices.index_at(now + lasts_s)
        hours = self._hours[begins]
        hour = hours.at(now)
        changes = int(hours.changes_before(now + lasts_s) or begins != ends)
        tier = _tier(self._entries[begins].by_volume, now, self.uses)
        key = (begins, ends, changes, hour, tier)
        return self._found.get(key) or self._remember(key)

    def _remember(self, key: tuple[int, int, int, int, int]) -> PriceInForce:
        found = self._found[key] = self._in_force(*key)
        return found

    def _in_force(self, begins: int, ends: int, changes: int, hour: int, tier: int) -> PriceInForce:
        entry = self._entries[begins]
        price = _effective(entry, hour, tier)
        may_hold = [
            variant
            for entry in self._entries[begins : ends + 1]
            for variant in _variants(entry, None if changes else hour)
        ]
        dearest = dearest_tokens(_dearest(may_hold))
        if begins != ends:
            dearest = _with_dearest_images(dearest, may_hold)
        on = {one.device: _effective(entry, hour, tier, one) for one in entry.by_device}
        devices = {name: PriceInForce(one, dearest, record_of(one)) for name, one in on.items()}
        by_answer = bool(on or price.by_image)
        return PriceInForce(price, dearest, record_of(price), devices, by_answer)


class _HourlyIndex:
    """Which hours of the week hold; looked up anew when one begins or ends."""

    def __init__(self, hourly: Sequence[HourlyRates]) -> None:
        self._hourly = hourly
        self._since = self._until = 0.0
        self._index = -1

    def at(self, now: float) -> int:
        """The first that covers the instant; -1: none does."""
        if self._hourly and not self._since <= now < self._until:
            self._since = now
            self._until = min(next_change(one.hours, now) for one in self._hourly)
            covering = (n for n, one in enumerate(self._hourly) if within(one.hours, now))
            self._index = next(covering, -1)
        return self._index

    def changes_before(self, end: float) -> bool:
        """After ``at``: whether other hours begin before ``end``."""
        return bool(self._hourly) and end >= self._until


def _varies(entry: Price) -> bool:
    return bool(entry.by_hours) or entry.by_volume is not None


def _tier(volume: VolumeRates | None, now: float, uses: Uses) -> int:
    """The last tier that begins below the use; -1: none does."""
    use = None if volume is None else uses.get(volume.per)
    if volume is None or use is None or now >= use.ends:
        return -1
    used = use.counts.get(volume.of, 0)
    return sum(tier.above < used for tier in volume.tiers) - 1


def _effective(entry: Price, hour: int, tier: int, on: DeviceRates | None = None) -> Price:
    rates: dict[str, Any] = {"by_device": (), "by_hours": (), "by_volume": None}
    if tier >= 0 and entry.by_volume is not None:
        rates |= entry.by_volume.tiers[tier].rates()
    if hour >= 0:
        rates |= entry.by_hours[hour].rates()
    if on is not None:
        rates |= on.rates()
    return msgspec.structs.replace(entry, **rates)


def _variants(entry: Price, hour: int | None) -> Iterator[Price]:
    """In every tier and on every device; in every hour where none is named."""
    tiers = range(-1, 0 if entry.by_volume is None else len(entry.by_volume.tiers))
    hours = range(-1, len(entry.by_hours)) if hour is None else (hour,)
    devices = (None, *entry.by_device)
    return (_effective(entry, one, tier, on) for one in hours for tier in tiers for on in devices)


def _dearest(prices: Sequence[Price]) -> Price:
    """The highest of each figure, and every second that one of them bills."""
    first = prices[0]
    figures = {name: _highest(getattr(price, name) for price in prices) for name in FIGURES}
    bills = tuple(one for one in BILLED if any(one in price.bills for price in prices))
    whole: dict[str, Any] = figures | {"bills": bills}
    return msgspec.structs.replace(first, **whole) if len(prices) > 1 else first


def _with_dearest_images(dearest: Price, prices: Sequence[Price]) -> Price:
    """With every image as dear as any of the prices has one."""
    if not any(price.by_image for price in prices):
        return dearest
    rate = _highest(rate_of(price, ANY_IMAGE).nano for price in prices)
    return msgspec.structs.replace(dearest, per_image=rate, by_image=())


def _highest(figures: Iterable[int | None]) -> int | None:
    return max((figure for figure in figures if figure is not None), default=None)


def price_at(prices: DatedPrices, now: float) -> Price:
    """By what a call is charged that is sent at an instant, before any tier is reached."""
    found = Tariff(prices).at(now, 0.0)
    assert found is not None
    return found.price
