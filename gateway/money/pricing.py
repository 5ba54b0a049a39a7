"""What a call costs: pure arithmetic from a price and a usage to integer nano-dollars."""

from __future__ import annotations

import operator
from collections.abc import Iterator

import msgspec

from adapters.types import Usage
from gateway.policy.model import Price

_MILLION = 1_000_000
_HOUR = 3600.0


MOST_TOKENS = 1_000_000_000
"""Of one call. Nothing produces more; and a figure past it would not fit the ledger's sums."""
_MOST_S = 1e8
_MOST_NANO = 10**15


class Expectation(msgspec.Struct, frozen=True):
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


class Estimate(msgspec.Struct, frozen=True):
    """Money in nano-dollars."""

    marginal: int
    """What choosing this backend adds to the bill: nothing for a reserved one."""
    charge: int
    """What the ledger will probably charge."""
    hold: int
    """What is held before the backend is asked."""
    per_second: int
    """What each further second adds to the charge; 0 when time costs nothing."""


FREE = Estimate(0, 0, 0, 0)


def charge(price: Price | None, usage: Usage) -> int:
    """Nano-dollars for what was used; the platform's own figure wins where it stated one."""
    if usage.cost_nano is not None:
        return usage.cost_nano
    if price is None:
        return 0
    return _timed(price, usage.exec_s or 0.0, usage.gpu_s or 0.0, usage.cold_s or 0.0) + _tokens(
        price, usage.input_tokens or 0, usage.output_tokens or 0
    )


def credible(usage: Usage) -> Usage:
    """What a backend says of itself, as far as it can be: a figure below zero, past every bound,
    or no number at all counts as not said. One fault there must neither pay a caller nor make a
    row that cannot be written."""
    for value in _figures_of(usage):
        if value is not None and not 0 <= value <= _LEAST_BOUND:
            return msgspec.structs.replace(usage, **dict.fromkeys(_unbelievable(usage)))
    return usage


def _unbelievable(usage: Usage) -> Iterator[str]:
    for name, most in _BOUNDS.items():
        value = getattr(usage, name)
        if value is not None and not 0 <= value <= most:
            yield name


_BOUNDS = {
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
}
_LEAST_BOUND = min(_BOUNDS.values())
"""What is past it is looked at by its own bound: nearly nothing is."""
_figures_of = operator.attrgetter(*_BOUNDS)


def estimate(price: Price | None, expected: Expectation) -> Estimate:
    """Prices an expectation; the hold covers ``exec_high_s`` and every token allowed."""
    if price is None:
        return FREE
    tokens = _tokens(price, expected.input_tokens, expected.output_tokens)
    likely = _timed(price, expected.exec_s, expected.exec_s, expected.cold_s) + tokens
    high = _timed(price, expected.exec_high_s, expected.exec_high_s, expected.cold_s) + _tokens(
        price, expected.input_high_tokens, expected.output_tokens
    )
    return Estimate(
        marginal=0 if price.reserved else likely,
        charge=likely,
        hold=max(likely, high),
        per_second=second_rate(price),
    )


def second_rate(price: Price) -> int:
    """Nano-dollars that one more second of running adds."""
    hourly = price.per_hour
    return (price.per_second or 0) + (round(hourly / _HOUR) if hourly else 0)


def output_cost(price: Price, tokens: int) -> int:
    """Nano-dollars that so many more tokens of output add."""
    return _tokens(price, 0, tokens)


def _timed(price: Price, exec_s: float, gpu_s: float, cold_s: float) -> int:
    nano = price.per_call or 0
    if price.per_second:
        seconds = exec_s + (cold_s if "start" in price.bills else 0.0)
        nano += round(price.per_second * seconds)
    if price.per_hour:
        nano += round(price.per_hour * gpu_s / _HOUR)
    return nano


def _tokens(price: Price, input_tokens: int, output_tokens: int) -> int:
    total = (price.per_million_input or 0) * input_tokens + (
        price.per_million_output or 0
    ) * output_tokens
    return -(-total // _MILLION)
