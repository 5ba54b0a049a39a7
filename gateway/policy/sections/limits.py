"""The limits that a policy can set: how much of what, in which window, in which scope."""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal
from math import inf
from typing import Annotated, Any

import msgspec

from adapters.settings import Scalar, SettingError
from gateway.policy.syntax.scalars import BackendName, Instant, ModelName, OneOrMany, whole_units
from gateway.types import MICRO, NANO, Limit, Unit
from gateway.windows import EXAMPLES, RATE_US, read_window

_AMOUNT = re.compile(
    r"(?P<amount>\d{1,20}(?:\.\d{1,9})?)\s*(?P<currency>USD)?\s*/\s*(?P<window>[^/\s].{0,79})\Z"
)
_CURRENCY = re.compile(r"[\d.,]+\s*(?!USD\b)(?P<currency>[A-Za-z]{3}|[€£¥])\s*(/|\Z)")
_SCALES: dict[Unit, int] = {"gpu_us": MICRO, "nano_usd": NANO}
_MONTH = r"month(\s+from\s+([1-9]|[12]\d|3[01]))?"
_LOCAL = rf"(day|{_MONTH}|week(\s+from\s+[A-Za-z]{{3,9}})?)(\s+[A-Z][A-Za-z0-9_+/-]*)?"
_WINDOW = rf"(second|minute|hour|{_LOCAL}|[1-9]\d*[smhd])"
ANY_VALUE = "*"
"""In ``tags``: each value that has no entry of its own."""


def parse_limit(value: Any, unit: Unit) -> Limit:
    """'60/minute', or '5 USD/month Europe/Berlin' for money -> Limit. Requests in a window of more
    than one word are counted, as ``calls``. Raises ValueError."""
    text = str(value).strip()
    match = _AMOUNT.match(text)
    if match is None and (other := _CURRENCY.match(text)) is not None:
        raise ValueError(f"{value!r}: money is counted in USD alone, not in {other['currency']}")
    if match is None:
        raise ValueError(f"{value!r} is not an amount per window, such as {EXAMPLES}")
    window = read_window(match["window"]).text
    if (match["currency"] is not None) != (unit == "nano_usd"):
        wanted = "5 USD/month" if unit == "nano_usd" else "600/day"
        raise ValueError(f"{value!r} has the wrong unit: write it like {wanted}")
    amount = whole_units(Decimal(match["amount"]), _SCALES.get(unit, 1), value)
    if amount <= 0:
        raise ValueError(f"{value!r} would refuse every call; give at least 1, or revoke the key")
    counted = unit == "requests" and window not in RATE_US
    return Limit("calls" if counted else unit, amount, window)


def _limits(unit: Unit, expects: str, currency: str = "") -> OneOrMany:
    def parse(value: Any) -> Limit:
        return parse_limit(value, unit)

    pattern = rf"^\d+(\.\d+)?\s*{currency}/\s*{_WINDOW}$"
    return OneOrMany(Scalar(parse=parse, expects=expects, pattern=pattern))


RequestLimits = Annotated[
    tuple[Limit, ...], _limits("requests", "a number of calls such as 60/minute")
]
GpuSecondLimits = Annotated[
    tuple[Limit, ...], _limits("gpu_us", "a number of GPU seconds such as 600/day")
]
"""In YAML seconds; in each ``Limit`` microseconds."""
SpendLimits = Annotated[
    tuple[Limit, ...], _limits("nano_usd", "an amount of money such as 5 USD/month", r"USD\s*")
]
"""In YAML dollars; in each ``Limit`` nano-dollars."""
TokenLimits = Annotated[
    tuple[Limit, ...], _limits("tokens", "a number of tokens such as 1000000/day")
]
InputTokenLimits = Annotated[
    tuple[Limit, ...], _limits("input_tokens", "a number of tokens such as 1000000/day")
]
OutputTokenLimits = Annotated[
    tuple[Limit, ...], _limits("output_tokens", "a number of tokens such as 1000000/day")
]


class Bounds(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How much of what; each may be left out."""

    requests: RequestLimits = ()
    """Such as 60/minute; a list gives several windows. With a time zone, a first day or a length
    (1000/day Europe/Berlin, 1000/24h) calls are counted, and not made even."""
    concurrent: Annotated[int, msgspec.Meta(ge=1)] | None = None
    """The most calls in flight at once."""
    gpu_seconds: GpuSecondLimits = ()
    """Such as 600/day."""
    tokens: TokenLimits = ()
    """Read and written together, such as 1000000/day."""
    input_tokens: InputTokenLimits = ()
    """Tokens that are read."""
    output_tokens: OutputTokenLimits = ()
    """Tokens that are written."""
    spend: SpendLimits = ()
    """Such as 5 USD/month, 5 USD/month from 15 Europe/Berlin, or 5 USD/24h."""

    def flat(self) -> tuple[Limit, ...]:
        """All bounds as one tuple, in the order in which they are checked."""
        concurrent = () if self.concurrent is None else (Limit("concurrent", self.concurrent),)
        tokens = (*self.tokens, *self.input_tokens, *self.output_tokens)
        return (*self.requests, *concurrent, *self.gpu_seconds, *tokens, *self.spend)


class Raise(Bounds, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """More, for a time: what the limits of the same windows are until its end."""

    start: Instant | None = None
    """From when on; left out: it holds already."""
    end: Instant
    """Until when."""
    why: str = ""
    """For whoever reads the policy."""

    def __post_init__(self) -> None:
        if self.start is not None and self.end <= self.start:
            raise SettingError(("end",), "is not after start")
        if not self.flat():
            raise ValueError("raises nothing: give what it raises, such as spend: 10 USD/month")

    def holds(self, now: float) -> bool:
        """Whether at ``now``, in seconds since the epoch."""
        return now < self.end and (self.start is None or self.start <= now)


class Limits(Bounds, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Bounds of one scope; each may be left out."""

    raises: tuple[Raise, ...] = ()
    """More, for a time."""

    def at(self, now: float) -> tuple[Limit, ...]:
        """What holds at ``now``, in seconds since the epoch."""
        raised = self.raised(now)
        if not raised:
            return self.flat()
        return tuple(_at_least(limit, raised) for limit in self.flat())

    def raised(self, now: float) -> dict[tuple[Unit, str], int]:
        """(unit, window) -> to what it is raised at ``now``."""
        found: dict[tuple[Unit, str], int] = {}
        for more in self.raises:
            for limit in more.flat() if more.holds(now) else ():
                key = (limit.unit, limit.window)
                found[key] = max(limit.amount, found.get(key, 0))
        return found

    def changes_at(self, now: float) -> float:
        """The next instant at which ``at`` is another; infinity where there is none."""
        edges = [edge for more in self.raises for edge in (more.start, more.end)]
        return min((edge for edge in edges if edge is not None and edge > now), default=inf)


def _at_least(limit: Limit, raised: dict[tuple[Unit, str], int]) -> Limit:
    amount = raised.get((limit.unit, limit.window), 0)
    return limit if amount <= limit.amount else msgspec.structs.replace(limit, amount=amount)


class GatewayLimits(Limits, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The section ``limits``: of the whole gateway, and of any part of it."""

    keys: dict[str, Limits] = {}
    """A key's id -> its limits, beside those that its plan gives."""
    users: dict[str, Limits] = {}
    """A user -> limits of all its keys together, beside those that the plan gives."""
    tags: dict[str, dict[str, Limits]] = {}
    """A tag of keys, such as team -> its value, or * for each value -> limits of all calls with
    it."""
    models: dict[ModelName, Limits] = {}
    """A model -> limits of all its calls."""
    backends: dict[BackendName, Limits] = {}
    """A backend -> limits of all that it does; where one is reached, others are asked."""
    warm_pool: Limits = Limits()
    """Of what pings and spares cost, all backends together."""
    show_left: bool = False
    """Answers say in a header what the caller's own budgets have left."""

    def tagged(self, name: str, value: str) -> Limits | None:
        """Those of a tag of a call; None where there are none."""
        values = self.tags.get(name, {})
        return values.get(value, values.get(ANY_VALUE))

    def parts(self) -> Iterator[tuple[str, str, Limits]]:
        """(kind of scope, key path, limits) of each part, the whole gateway's included."""
        yield "gateway", "limits", self
        yield "warm-pool", "limits.warm_pool", self.warm_pool
        for kind in ("keys", "users", "models", "backends"):
            table: dict[str, Limits] = getattr(self, kind)
            for name, limits in table.items():
                yield kind.removesuffix("s"), f"limits.{kind}.{name}", limits
        for tag, values in self.tags.items():
            for value, limits in values.items():
                yield f"tag:{tag}", f"limits.tags.{tag}.{value}", limits
