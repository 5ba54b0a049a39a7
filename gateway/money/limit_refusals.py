"""How a caller is told that a limit has no room for its call: whose limit, how much is left where
that is its own to see, when it resets, and what to do."""

from __future__ import annotations

import math

import msgspec

from gateway.money.limits import amount_text, is_callers_own, left_header, rate_limit_headers
from gateway.storage.base import Claim, Refused
from gateway.storage.claims import TOKENS
from gateway.types import TOKEN_TAG, ApiError, Unit
from gateway.windows import RATE_US, read_window

_SPANS = ((86_400, "day"), (3600, "hour"), (60, "minute"), (1, "second"))
_LONGEST_WAIT_S = 60.0
"""A client that repeats by itself should not wait for longer."""
_NOUNS: dict[Unit, str] = {
    "nano_usd": "budget",
    "gpu_us": "device time",
    "calls": "requests",
    "tokens": "tokens",
    "input_tokens": "tokens of input",
    "output_tokens": "tokens of output",
}
_UNITS: dict[Unit, str] = {"nano_usd": "USD", "gpu_us": "GPU-seconds"}
_ASK = "ask whoever runs this gateway for more"


class LimitReached(ApiError):
    """A limit has no room for a call. ``claim``: what was asked of it."""

    def __init__(
        self,
        claim: Claim,
        status: int,
        code: str,
        message: str,
        *,
        type: str,
        headers: dict[str, str],
    ) -> None:
        super().__init__(status, code, message, type=type, headers=headers)
        self.claim = claim


def refusal(refused: Refused) -> LimitReached:
    """429 for rates, counts, tokens and concurrency, 402 for money and device time."""
    claim = refused.status.claim
    unit = claim.unit
    if unit == "requests":
        return _too_many(refused, "rate_limit_exceeded", _rate_message(refused))
    if unit == "concurrent":
        return _too_many(refused, "concurrency_limit_exceeded", _concurrency_message(refused))
    message = _used_up_message(refused)
    if unit == "calls":
        return _too_many(refused, "rate_limit_exceeded", message)
    if unit in TOKENS:
        return _too_many(refused, "token_limit_exceeded", message)
    headers = {"x-should-retry": "false", **_left(refused)}
    return LimitReached(
        claim, 402, "budget_exhausted", message, type="insufficient_quota", headers=headers
    )


def is_held(refused: Refused) -> bool:
    """Whether there was room if what calls on their way hold came back whole."""
    status = refused.status
    return status.held > 0 and status.remaining + status.held >= status.claim.take


def _too_many(refused: Refused, code: str, message: str) -> LimitReached:
    headers = {"Retry-After": str(_retry_after(refused)), **_left(refused)}
    for name, value in rate_limit_headers(refused):
        headers[name.decode()] = value.decode()
    if refused.retry_after_s > _LONGEST_WAIT_S and refused.status.claim.unit != "requests":
        headers["x-should-retry"] = "false"
    claim = refused.status.claim
    return LimitReached(claim, 429, code, message, type="rate_limit_error", headers=headers)


def _left(refused: Refused) -> dict[str, str]:
    """What there is room for: what will probably come back was no room for this call."""
    sure = msgspec.structs.replace(refused.status, surplus=0)
    return {name.decode(): value.decode() for name, value in left_header([sure])}


def _retry_after(refused: Refused) -> int:
    return max(1, math.ceil(refused.retry_after_s))


def _rate_message(refused: Refused) -> str:
    claim = refused.status.claim
    again = f"Try again in {_duration(_retry_after(refused))}."
    if not is_callers_own(claim):
        return f"{_whose(claim)} takes no more requests at the moment. {again}"
    bound = _count(claim.limit, "request")
    return f"{_whose(claim)} may make {bound} a {claim.window} and has none left. {again}"


def _concurrency_message(refused: Refused) -> str:
    claim = refused.status.claim
    if not is_callers_own(claim):
        return f"{_whose(claim)} has no room for another call at the moment. Try again shortly."
    bound = _count(claim.limit, "call")
    return (
        f"{_whose(claim)} may have {bound} in progress at once and has. "
        "Wait for one to end, then try again."
    )


def _used_up_message(refused: Refused) -> str:
    status = refused.status
    claim, kind = status.claim, _NOUNS[status.claim.unit]
    reset = _reset(refused)
    if not is_callers_own(claim):
        return f"{_whose(claim)} has used up its {kind} of {_this(claim)}. {reset} Or {_ASK}."
    left, most, needs = (_amount(claim, n) for n in (status.remaining, claim.limit, claim.take))
    has = f"{_whose(claim)} has {left} left of its {kind} of {most} {_per(claim)}"
    if status.held:
        has += f", beside {_amount(claim, status.held)} that calls on their way may cost"
    if claim.unit == "calls":
        return f"{has}. {reset} Try again then, or {_ASK}."
    return (
        f"{has}, and this call may need {needs}. {reset} Make a smaller call or use a cheaper "
        f"model, or {_ASK}; GET /usage shows what was spent."
    )


def _reset(refused: Refused) -> str:
    status = refused.status
    if status.claim.take > status.claim.limit:
        return "It is more than the limit itself."
    if _rolls(status.claim):
        return f"There may be room for it in {_duration(refused.retry_after_s)}."
    return f"It resets in {_duration(status.reset_s)}."


def _rolls(claim: Claim) -> bool:
    return claim.window not in RATE_US and read_window(claim.window).rolling


def _this(claim: Claim) -> str:
    return f"the last {claim.window}" if _rolls(claim) else f"this {claim.window}"


def _per(claim: Claim) -> str:
    return f"in any {claim.window}" if _rolls(claim) else f"a {claim.window}"


def _whose(claim: Claim) -> str:
    kind, _, name = claim.scope.partition(":")
    if kind == "tag":
        kind, _, name = name.partition("=")
    known = {
        "key": "Your key",
        TOKEN_TAG: "This token",
        "gateway": "This gateway",
        "warm-pool": "The warm pool",
    }
    return known.get(kind, f"{kind[:1].upper()}{kind[1:]} {name}")


def _amount(claim: Claim, amount: int) -> str:
    text, unit = amount_text(claim.unit, amount), _UNITS.get(claim.unit)
    return text if unit is None else f"{text} {unit}"


def _duration(seconds: float) -> str:
    """A length of time, rounded up to two units at most: '11 days 4 hours'."""
    rest = max(1, math.ceil(seconds))
    words: list[str] = []
    for size, name in _SPANS:
        count, rest = divmod(rest, size)
        if count:
            words.append(_count(count, name))
    return " ".join(words[:2])


def _count(number: int, name: str) -> str:
    return f"{number} {name}" if number == 1 else f"{number} {name}s"
