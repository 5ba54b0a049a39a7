"""What a call costs: pure integer arithmetic from a price and a usage to nano-dollars.

A time counts in whole microseconds, as the ledger has it. What is divided is rounded once: time to
the nearest nano-dollar, tokens and sound up. ``charge_lines`` is the same sum in its parts.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

import msgspec

from adapters.types import ANY_IMAGE, ImageKind, Usage
from gateway.money.token_split import dearest_tokens, split
from gateway.policy.sections.image_rates import rate_of
from gateway.policy.sections.price import Price
from gateway.types import MICRO

_MILLION = 1_000_000
_THOUSAND = 1000
_HOUR_US = 3600 * MICRO
_LIKELY_IMAGES = 1
_LIKELY_AUDIO_S = 60.0
"""What a call brings or makes, where nobody knows: the hold is for the most that it may."""


MOST_TOKENS = 1_000_000_000
"""Of one call. Nothing produces more; and a figure past it would not fit the ledger's sums."""
_MOST_S = 1e8
_MOST_NANO = 10**15


class Expectation(msgspec.Struct, frozen=True, gc=False):
    """What a call is expected to use at one backend, before it is asked."""

    exec_s: float
    """The seconds it will probably run."""
    exec_high_s: float
    """The seconds that few calls exceed; what is held for at first."""
    cold_s: float
    """Seconds of start-up that the call would cause; 0 when a warm worker waits."""
    input_tokens: int
    input_high_tokens: int
    """No input can be more tokens than it has bytes."""
    output_tokens: int
    """The most that it may produce."""
    images: int = 0
    """The most that it may make."""
    audio_s: float = 0.0
    """The most sound that it may bring or make."""
    tail_s: float = 0.0
    """Seconds that its worker will wait after it."""
    image: ImageKind = ANY_IMAGE
    """What its images shall be."""


class Estimate(msgspec.Struct, frozen=True, gc=False):
    """Money in nano-dollars."""

    marginal: int
    """What choosing this backend adds to the bill: nothing for a reserved one. The wait of its
    worker afterwards is in it, where that is billed, and in no charge: whose it is will be seen."""
    charge: int
    """What the ledger will probably charge."""
    hold: int
    """What is held before the backend is asked."""
    per_second: int
    """What each further second adds to the charge; 0 when time costs nothing."""


FREE = Estimate(0, 0, 0, 0)


class ChargeLine(msgspec.Struct, frozen=True):
    """One part of a charge."""

    item: str
    """The rate that it is charged by, such as per_second."""
    quantity: int
    """Calls, microseconds, tokens, images, or milliseconds of sound."""
    rate_nano: int
    cost_nano: int


def charge(price: Price | None, usage: Usage) -> int:
    """Nano-dollars for what was used; the platform's own figure wins where it stated one."""
    if usage.cost_nano is not None:
        return usage.cost_nano
    if price is None:
        return 0
    total = price.per_call or 0
    if price.per_second is not None:
        total += _for_time(price.per_second, _billed_us(price, usage.exec_s, usage.cold_s))
    if price.per_hour is not None:
        total += _share_of_hour(price.per_hour, microseconds(usage.gpu_s))
    if price.per_million_input is not None or price.per_million_output is not None:
        if usage.parts is None:
            total += _for_text(price, usage.input_tokens or 0, usage.output_tokens or 0)
        else:
            total += -(-sum(rate * tokens for _, tokens, rate in split(price, usage)) // _MILLION)
    if usage.images is not None and price.per_image is not None:
        total += rate_of(price, usage.image).nano * usage.images
    if usage.audio_s is not None and price.per_audio_second is not None:
        total += _for_sound(price.per_audio_second, usage.audio_s)
    return total


def charge_lines(price: Price | None, usage: Usage) -> tuple[ChargeLine, ...]:
    """What a charge is made of: its parts are whole nano-dollars, and their sum is ``charge``. A
    figure of the platform's own is one part, ``stated``."""
    if usage.cost_nano is not None:
        return (ChargeLine("stated", 1, usage.cost_nano, usage.cost_nano),)
    return () if price is None else tuple(line for line in _lines(price, usage) if line.quantity)


def _lines(price: Price, usage: Usage) -> Iterator[ChargeLine]:
    if price.per_call:
        yield ChargeLine("per_call", 1, price.per_call, price.per_call)
    if price.per_second is not None:
        us = _billed_us(price, usage.exec_s, usage.cold_s)
        yield ChargeLine("per_second", us, price.per_second, _for_time(price.per_second, us))
    if price.per_hour is not None:
        us = microseconds(usage.gpu_s)
        yield ChargeLine("per_hour", us, price.per_hour, _share_of_hour(price.per_hour, us))
    yield from _token_lines(price, usage)
    if price.per_image is not None and usage.images:
        each = rate_of(price, usage.image).nano
        yield ChargeLine("per_image", usage.images, each, each * usage.images)
    if price.per_audio_second is not None and usage.audio_s:
        rate, ms = price.per_audio_second, _milliseconds(usage.audio_s)
        yield ChargeLine("per_audio_second", ms, rate, _for_sound(rate, usage.audio_s))


def _token_lines(price: Price, usage: Usage) -> Iterator[ChargeLine]:
    """Each ends where the sum so far, rounded up, ends: so the parts make the whole."""
    exact = told = 0
    for item, tokens, rate in split(price, usage):
        exact += rate * tokens
        rounded = -(-exact // _MILLION)
        yield ChargeLine(item, tokens, rate, rounded - told)
        told = rounded


def idle_charge(price: Price | None, idle_us: int) -> int:
    """Nano-dollars for the microseconds in which a worker waited for calls, where the price bills
    them: ``minimum`` and ``round_up`` are of calls and not of these."""
    if price is None or price.per_second is None or "idle" not in price.bills:
        return 0
    return _for_time(price.per_second, idle_us)


class MostTokens(msgspec.Struct, frozen=True):
    """The most that one call can have had."""

    given: int
    made: int
    likely_made: int
    """What is taken for its output where more is stated."""

    def bounds(self) -> dict[str, float]:
        """The most of each figure."""
        most = {
            "input_tokens": self.given,
            "output_tokens": self.made,
            "total_tokens": self.given + self.made,
        }
        return {name: min(tokens, MOST_TOKENS) for name, tokens in most.items()}


class Bounded(Protocol):
    """Whatever knows it of a call."""

    def is_doubtful(self, stated: Usage) -> bool: ...
    def most_tokens(self) -> MostTokens: ...


def credible(usage: Usage, call: Bounded | None = None) -> Usage:
    """What a backend says of itself, as far as it can be: a figure below zero, past every bound,
    or no number at all counts as not said. One fault there must neither pay a caller nor make a
    row that cannot be written."""
    stated = tuple(filter(None, _figures_of(usage)))
    if not stated or (min(stated) > 0 and sum(stated) <= _PLENTY):
        return usage  # NaN is in no sum that is at most anything
    most = call.most_tokens() if call is not None and call.is_doubtful(usage) else None
    bounds = _BOUNDS if most is None else _BOUNDS | most.bounds()
    untrue: dict[str, Any] = dict.fromkeys(_unbelievable(usage, bounds))
    if not untrue:
        return usage
    if "input_tokens" in untrue or "output_tokens" in untrue:
        untrue["parts"] = None
    if "output_tokens" in untrue and most is not None:
        untrue.setdefault("text_tokens", usage.text_tokens or most.likely_made or None)
    return msgspec.structs.replace(usage, **untrue)


def _unbelievable(usage: Usage, bounds: Mapping[str, float]) -> Iterator[str]:
    for name, most in bounds.items():
        value = getattr(usage, name)
        if value is not None and not 0 <= value <= most:
            yield name


_BOUNDS: dict[str, float] = {
    "exec_s": _MOST_S,
    "gpu_s": _MOST_S,
    "cold_s": _MOST_S,
    "load_s": _MOST_S,
    "queue_s": _MOST_S,
    "input_tokens": MOST_TOKENS,
    "output_tokens": MOST_TOKENS,
    "total_tokens": MOST_TOKENS,
    "text_tokens": MOST_TOKENS,
    "cost_nano": _MOST_NANO,
    "images": MOST_TOKENS,
    "audio_s": _MOST_S,
}
_PLENTY = 1024
"""Where all together are past it each is looked at by its own bound."""
_figures_of = operator.attrgetter(*_BOUNDS)


def estimate(price: Price | None, expected: Expectation, dearest: Price | None = None) -> Estimate:
    """Prices an expectation. The hold is by the ``dearest`` price that may come true, left out:
    ``price`` with every token in its dearest part (none from a cache). It covers ``exec_high_s``,
    all that the call may read and make, and the step to which its time may be rounded up."""
    if price is None:
        return FREE
    held = dearest_tokens(price) if dearest is None else dearest
    given, high = expected.input_tokens, expected.input_high_tokens
    images, audio_s = expected.images, expected.audio_s
    likely = _sum(
        price,
        expected,
        expected.exec_s,
        given,
        images if images < _LIKELY_IMAGES else _LIKELY_IMAGES,
        audio_s if audio_s < _LIKELY_AUDIO_S else _LIKELY_AUDIO_S,
    )
    most = _sum(held, expected, expected.exec_high_s, high, images, audio_s, held.round_up or 0)
    hold = most if most > likely else likely
    marginal = likely if price.per_hour is None else 0
    if expected.tail_s:
        marginal += idle_charge(price, round(expected.tail_s * MICRO))
    return Estimate(marginal, likely, hold, second_rate(held))


def _sum(
    price: Price,
    expected: Expectation,
    exec_s: float,
    given: int,
    images: int,
    audio_s: float,
    step_us: int = 0,
) -> int:
    """For so many seconds of running and ``step_us`` microseconds more, tokens of input, images and
    seconds of sound; for as long a start and as many tokens of output as are expected."""
    total = price.per_call or 0
    if price.per_second is not None:
        us = _billed_us(price, exec_s, expected.cold_s) + step_us
        total += _for_time(price.per_second, us)
    if price.per_hour is not None:
        total += _share_of_hour(price.per_hour, round(exec_s * MICRO))
    by_input, by_output = price.per_million_input, price.per_million_output
    if by_input is not None or by_output is not None:  # as ``_for_text`` has it
        exact = (by_input or 0) * given + (by_output or 0) * expected.output_tokens
        total += -(-exact // _MILLION)
    if price.per_image is not None:
        total += rate_of(price, expected.image).nano * images
    if price.per_audio_second is not None:
        total += _for_sound(price.per_audio_second, audio_s)
    return total


def second_rate(price: Price) -> int:
    """Nano-dollars that one more second of running adds."""
    second = price.per_second or 0
    return second + _share_of_hour(price.per_hour, MICRO) if price.per_hour else second


def output_cost(price: Price, tokens: int) -> int:
    """Nano-dollars that so many more tokens of output add."""
    return -(-(price.per_million_output or 0) * tokens // _MILLION)


def microseconds(seconds: float | None) -> int:
    """A time in the ledger's unit."""
    return 0 if seconds is None else round(seconds * MICRO)


def _billed_us(price: Price, exec_s: float | None, cold_s: float | None) -> int:
    """No time at all is charged as none, whatever the least time is."""
    us = round(exec_s * MICRO) if exec_s else 0
    if cold_s and "start" in price.bills:
        us += round(cold_s * MICRO)
    minimum, step = price.minimum, price.round_up
    if us and minimum is not None and us < minimum:
        us = minimum
    return us if step is None else -(-us // step) * step


def _for_time(rate: int, us: int) -> int:
    return (rate * us + MICRO // 2) // MICRO


def _share_of_hour(rate: int, us: int) -> int:
    return (rate * us + _HOUR_US // 2) // _HOUR_US


def _for_text(price: Price, given: int, made: int) -> int:
    exact = (price.per_million_input or 0) * given + (price.per_million_output or 0) * made
    return -(-exact // _MILLION)


def _for_sound(rate: int, seconds: float) -> int:
    return -(-rate * _milliseconds(seconds) // _THOUSAND)


def _milliseconds(seconds: float) -> int:
    return round(seconds * _THOUSAND)
