"""What a backend charges, as a policy or a table of prices says it: frozen values, no arithmetic.

Money is integer nano-dollars, times of a price are integer microseconds.
"""

from __future__ import annotations

import datetime
import itertools
import re
from collections.abc import Iterator
from typing import Annotated, Any, Literal

import msgspec

from adapters.settings import Scalar, SettingError, parse_duration
from gateway.policy.syntax.scalars import DateStr, Hours, NanoUsd, OneOrMany

_MICRO = 1_000_000


def parse_microseconds(value: Any) -> int:
    """A duration -> microseconds. Raises ValueError for one that is no whole number of them."""
    scaled = parse_duration(value) * _MICRO
    if abs(scaled - round(scaled)) > _MICRO**-1:
        raise ValueError(f"{value!r} is finer than a microsecond")
    return round(scaled)


Microseconds = Annotated[
    int,
    Scalar(
        parse=parse_microseconds,
        expects="a duration such as 100ms, 1s or 1m",
        pattern=r"^\d+(\.\d+)?\s*(ms|s|m|h|d)?$",
    ),
    msgspec.Meta(gt=0),
]
"""In YAML a duration."""


class Rates(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is charged for; each may be left out."""

    per_second: NanoUsd | None = None
    """Of a worker's time; ``bills`` says which."""
    per_call: NanoUsd | None = None
    """A fee for each call."""
    per_million_input: NanoUsd | None = None
    """Of tokens read."""
    per_million_output: NanoUsd | None = None
    """Of tokens written."""
    per_million_cached_input: NanoUsd | None = None
    """Of tokens read from a cache of prompts; left out: as other input."""
    per_million_cached_audio_input: NanoUsd | None = None
    """Of tokens of sound read from a cache; left out: as other cached input."""
    per_million_cache_write: NanoUsd | None = None
    """Of tokens that a cache keeps for some minutes; left out: as other input."""
    per_million_cache_write_1h: NanoUsd | None = None
    """Of tokens that a cache keeps for an hour; left out: as those kept for minutes."""
    per_million_audio_input: NanoUsd | None = None
    """Of tokens of sound that are read; left out: as other input."""
    per_million_image_input: NanoUsd | None = None
    """Of tokens of images that are read; left out: as other input."""
    per_million_reasoning: NanoUsd | None = None
    """Of tokens written before the answer; left out: as other output."""
    per_million_audio_output: NanoUsd | None = None
    """Of tokens of sound that are written; left out: as other output."""
    per_million_image_output: NanoUsd | None = None
    """Of tokens of images that are written; left out: as other output."""
    per_image: NanoUsd | None = None
    """Of images that are made."""
    per_audio_second: NanoUsd | None = None
    """Of sound that is read or made."""

    def rates(self) -> dict[str, int]:
        """Those that are given, in nano-dollars."""
        found = ((name, getattr(self, name)) for name in RATES)
        return {name: rate for name, rate in found if rate is not None}


RATES = Rates.__struct_fields__
_PARTS = {
    "per_million_input": (
        "per_million_cached_input",
        "per_million_cached_audio_input",
        "per_million_cache_write",
        "per_million_cache_write_1h",
        "per_million_audio_input",
        "per_million_image_input",
    ),
    "per_million_output": (
        "per_million_reasoning",
        "per_million_audio_output",
        "per_million_image_output",
    ),
}
"""A rate of a whole, and those of its parts."""


class HourlyRates(Rates, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Rates that hold in some hours of the week, instead of the price's own."""

    hours: Hours
    """When, such as "16:30-00:30" or "Mon-Fri 09:00-18:00 Asia/Shanghai"; by the instant at which
    a call is sent."""

    def __post_init__(self) -> None:
        _check_says_something(self)


class DeviceRates(Rates, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Rates that hold where a backend says that a call ran on a device, instead of the price's
    own."""

    device: str
    """As the backend names it: a type of GPU, or a size of worker."""

    def __post_init__(self) -> None:
        _check_says_something(self)


_TWO_SIDES = re.compile(r"([0-9]+)(?:\s+x\s*|\s*x\s+|\s*[*×,/]\s*|\s+)([0-9]+)", re.IGNORECASE)
"""A width and a height in other words than 1024x1024, as which no request or answer names them."""
_QUALITIES = ("low", "medium", "high", "xhigh", "max", "standard", "hd")
"""https://platform.openai.com/docs/api-reference/images/create"""


class ImageRates(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What each image of a size, of a quality, or of both costs, instead of the price's own
    ``per_image``."""

    size: str = ""
    """As requests and answers name it, such as 1024x1024."""
    quality: str = ""
    """As requests and answers name it, such as high."""
    per_image: NanoUsd
    """Of each."""

    def __post_init__(self) -> None:
        if not self.size and not self.quality:
            raise ValueError("needs size, quality, or both")
        for name in ("size", "quality"):
            if getattr(self, name).strip().lower() == "auto":
                message = "'auto' is what a server chooses: name what it may choose"
                raise SettingError((name,), message)
        if (sides := _TWO_SIDES.fullmatch(self.size.strip())) is not None:
            right = f"{sides[1]}x{sides[2]}"
            raise SettingError(("size",), f"{self.size!r} is no image's: write {right}")
        quality = self.quality.strip().lower()
        if quality and quality not in _QUALITIES:
            message = f"{self.quality!r} is no image's; allowed: {', '.join(_QUALITIES)}"
            raise SettingError(("quality",), message)


class VolumeTier(Rates, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Rates that hold past an amount of use, instead of the price's own."""

    above: Annotated[int, msgspec.Meta(ge=0)]
    """Of what ``of`` counts, in the calendar window."""

    def __post_init__(self) -> None:
        _check_says_something(self)


class VolumeRates(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Rates by how much the backend has been used, as the ledger has it."""

    of: Literal["tokens", "input_tokens", "output_tokens", "calls", "seconds"] = "tokens"
    """What is counted of the backend's settled calls; seconds are those of its devices."""
    per: Literal["day", "month"] = "month"
    """A calendar window, UTC."""
    tiers: Annotated[tuple[VolumeTier, ...], msgspec.Meta(min_length=1)]
    """In the order of ``above``. A call is charged by one tier as a whole: that in which the
    backend stood when the call was sent."""

    def __post_init__(self) -> None:
        for low, high in itertools.pairwise(self.tiers):
            if low.above >= high.above:
                message = f"above {high.above} stands after above {low.above}: the lowest first"
                raise SettingError(("tiers",), message)


class Price(Rates, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a backend charges. Dated, with a source; at least one of the rates.

    ``per_hour`` alone means reserved: the machine is paid for whether or not a call comes, so
    the router counts it as free and the ledger charges the share that a call used.
    """

    per_hour: NanoUsd | None = None
    """Of a machine that is yours, busy or not."""
    bills: tuple[Literal["start", "run", "idle", "failed"], ...] = ("run",)
    """Which seconds of a worker ``per_second`` is charged for; and ``failed``, whether what a
    failed call says that it used, and its fee, is charged."""
    minimum: Microseconds | None = None
    """The least time that a call is charged for, at a price by the second."""
    round_up: Microseconds | None = None
    """A call's time is charged in whole steps of this, at a price by the second."""
    by_device: tuple[DeviceRates, ...] = ()
    """Rates that differ by what a call ran on, where the backend says it; they go before those of
    hours and tiers. Elsewhere the price's own hold, and the charge is marked as an estimate."""
    by_image: tuple[ImageRates, ...] = ()
    """What images cost by their size and quality, whatever the hour, the device and the tier; the
    first that an image is of holds. Others cost the price's own ``per_image``."""
    by_hours: tuple[HourlyRates, ...] = ()
    """Rates that differ by the hour; the first that covers the instant holds, before any tier."""
    by_volume: VolumeRates | None = None
    """Rates that differ by the backend's use."""
    currency: Literal["USD"] = "USD"
    """US dollars are the only one: a price in another is converted by whoever looks it up."""
    as_of: DateStr | None = None
    """The day on which somebody looked it up; in a list of prices, the first on which it holds
    (UTC). A warning comes after 180 days."""
    until: DateStr | None = None
    """The first day on which it holds no more (UTC). It is charged all the same where no other
    follows, with a warning."""
    source: str = ""
    """Where it was looked up."""

    def __post_init__(self) -> None:
        if self.per_hour is None and not self.rates():
            raise ValueError("needs at least one of the rates, such as per_second or per_call")
        _check_parts(self)
        _check_times(self)
        _check_variants(self)
        _check_devices(self)
        _check_images(self)
        if self.until is not None:
            _check_until(self, self.until)

    @property
    def reserved(self) -> bool:
        """Whether it is paid for by the hour, calls or none."""
        return self.per_hour is not None

    @property
    def bills_runs(self) -> bool:
        """Whether to run a call once more adds something to a bill beside tokens."""
        dear = (self.per_second, self.per_call, self.per_image, self.per_audio_second)
        return not self.reserved and dear != (None, None, None, None)


def _check_says_something(rates: Rates) -> None:
    if not rates.rates():
        raise ValueError("needs at least one of the rates, such as per_second or per_call")


def _check_parts(price: Price) -> None:
    for whole, parts in _PARTS.items():
        for part in parts:
            if getattr(price, part) is not None and getattr(price, whole) is None:
                message = f"is a part of what {whole} is the price of: give that too"
                raise SettingError((part,), message)


def _check_times(price: Price) -> None:
    for name in ("minimum", "round_up"):
        if getattr(price, name) is not None and price.per_second is None:
            raise SettingError((name,), "needs per_second: only a price of time is rounded")


def _check_variants(price: Price) -> None:
    """What costs something in some hours, or from some amount on, costs something always; what is
    to be free then says 0."""
    for keys, rates in _variants(price):
        for name in rates.rates():
            if getattr(price, name) is None and getattr(price, _whole_of(name), None) is None:
                message = f"the price itself has no {name}: give it there, for all other cases"
                raise SettingError((*keys, name), message)


def _variants(price: Price) -> Iterator[tuple[tuple[str, ...], Rates]]:
    for index, one in enumerate(price.by_device):
        yield (f"by_device[{index}]",), one
    for index, hourly in enumerate(price.by_hours):
        yield (f"by_hours[{index}]",), hourly
    for index, tier in enumerate(() if price.by_volume is None else price.by_volume.tiers):
        yield ("by_volume", f"tiers[{index}]"), tier


def _check_devices(price: Price) -> None:
    seen: set[str] = set()
    for index, one in enumerate(price.by_device):
        if one.device in seen:
            raise SettingError((f"by_device[{index}]", "device"), f"{one.device} stands twice")
        seen.add(one.device)


def _check_images(price: Price) -> None:
    if price.by_image and price.per_image is None:
        raise SettingError(("by_image",), "the price itself has no per_image: give it, for others")
    for index, one in enumerate(price.by_image):
        for earlier in price.by_image[:index]:
            if _covers(earlier.size, one.size) and _covers(earlier.quality, one.quality):
                message = "never holds: an earlier one takes all of it"
                raise SettingError((f"by_image[{index}]",), message)


def _covers(wider: str, narrower: str) -> bool:
    return not wider or wider.strip().lower() == narrower.strip().lower()


def _whole_of(part: str) -> str:
    return next((whole for whole, parts in _PARTS.items() if part in parts), part)


def _check_until(price: Price, until: str) -> None:
    if price.as_of is None:
        raise SettingError(("until",), "needs as_of: the day from which on it holds")
    if until <= price.as_of:
        raise SettingError(("until",), f"{until} is not after as_of, {price.as_of}")
    if not price.source:
        raise SettingError(("until",), "needs source: where that was looked up")


PriceList = Annotated[tuple[Price, ...], OneOrMany(), msgspec.Meta(min_length=1)]
"""One price, or several that follow each other in time."""


class DatedPrices(msgspec.Struct, frozen=True):
    """The prices of one name, oldest first. What is charged is the one that holds when a call is
    sent; before the first it is the first, after the last the last."""

    entries: tuple[Price, ...]
    begins: tuple[int, ...]
    """When each begins to hold, in seconds since 1970-01-01 UTC; the first as long as any."""

    @classmethod
    def of(cls, entries: tuple[Price, ...]) -> DatedPrices:
        """Raises SettingError, with keys such as ``("[1]", "as_of")``, for entries that overlap,
        leave a gap, stand in another order, or have no date or source."""
        if len(entries) > 1:
            _check_dates(entries)
        return cls(entries, (0, *(epoch_s(entry.as_of or "") for entry in entries[1:])))

    def index_at(self, now: float) -> int:
        """Which entry holds at an instant, in seconds since 1970-01-01 UTC."""
        index = len(self.begins) - 1
        while index and now < self.begins[index]:
            index -= 1
        return index

    def at(self, now: float) -> Price:
        """The entry that holds at an instant, with what differs by hours and volume in it."""
        return self.entries[self.index_at(now)]


def _check_dates(entries: tuple[Price, ...]) -> None:
    for index, entry in enumerate(entries):
        for name in ("as_of", "source"):
            if not getattr(entry, name):
                message = "is required in a list of prices"
                raise SettingError((f"[{index}]", name), message)
    for index, (one, following) in enumerate(itertools.pairwise(entries), 1):
        begins, where = following.as_of or "", (f"[{index}]", "as_of")
        if begins <= (one.as_of or ""):
            raise SettingError(where, f"{begins} is not after {one.as_of}, the one before it")
        if one.until is not None and begins < one.until:
            raise SettingError(where, f"overlaps: the one before it holds until {one.until}")
        if one.until is not None and begins > one.until:
            message = f"leaves a gap: the one before it holds until {one.until}"
            raise SettingError(where, message)


def epoch_s(day: str) -> int:
    """When a day begins, in seconds since 1970-01-01 UTC. Raises ValueError."""
    return (datetime.date.fromisoformat(day) - datetime.date(1970, 1, 1)).days * 86_400
