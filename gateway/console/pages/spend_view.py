"""What the address of Spend asks for, and what is added up."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from gateway.console.drawing.figures import amount, count, dollars, duration
from gateway.console.drawing.words import MEASURES
from gateway.console.visits.asking import filters_of, is_dimension
from gateway.console.visits.spans import TimeSpan, span_of
from gateway.console.visits.visit import Visit
from gateway.policy.sections.price import Price
from gateway.storage.queries import UsageRow
from gateway.types import MICRO, ApiError

BY = ("user", "model", "backend", "key", "plan", "tag:team", "route", "reason", "price", "kind")
"""What the page offers; any dimension may stand in the address."""


class SpendView(msgspec.Struct, frozen=True):
    """What the address asks for."""

    span: TimeSpan
    by: str
    then: str
    metric: str
    is_cumulative: bool

    @property
    def groups(self) -> tuple[str, ...]:
        """Dimensions, the outer one first."""
        return (self.by, self.then) if self.then else (self.by,)


def asked_of(visit: Visit) -> SpendView:
    """Raises ApiError 400 for what is no dimension or measure."""
    by = visit.params.get("by", "user" if visit.sees_others else "model")
    then, metric = visit.params.get("then", ""), visit.params.get("metric", "cost")
    for name, value in (("by", by), ("then", then)):
        if value and not is_dimension(value):
            words = f"{name} is one of {', '.join(BY)}, or tag:NAME"
            raise ApiError(400, "invalid_parameter", words, param=name)
    if metric not in MEASURES:
        words = f"metric is one of {', '.join(MEASURES)}"
        raise ApiError(400, "invalid_parameter", words, param="metric")
    is_cumulative = visit.params.get("cumulative") == "1"
    return SpendView(span_of(visit, "7d"), by, "" if then == by else then, metric, is_cumulative)


def kind_asked(visit: Visit) -> dict[str, str]:
    """The kind of rows that the address names, as a filter; empty of all."""
    return {"kind": kind} if (kind := filters_of(visit).get("kind")) else {}


def value_of(metric: str) -> Callable[[UsageRow], int]:
    """What is added up of a row."""
    return {
        "cost": lambda row: row.cost_nano,
        "calls": lambda row: row.calls,
        "gpu": lambda row: row.gpu_us,
        "tokens": lambda row: row.input_tokens + row.output_tokens,
    }[metric]


def told_as(metric: str) -> Callable[[float], str]:
    """How a value of it is written."""
    return {
        "cost": lambda value: dollars(round(value)),
        "calls": count,
        "gpu": lambda value: duration(value / MICRO),
        "tokens": amount,
    }[metric]


def cold_nano(visit: Visit) -> Callable[[UsageRow], int]:
    """About what the starts of a backend's calls have cost, where its price bills them: their part
    of the time."""
    backends = visit.gateway.active.backends
    billed = {name for name, one in backends.items() if _bills_starts(one.price)}

    def cold(row: UsageRow) -> int:
        if not row.cold_us or row.group["backend"] not in billed:
            return 0
        return row.cost_nano * row.cold_us // (row.cold_us + row.exec_us)

    return cold


def _bills_starts(price: Price | None) -> bool:
    return price is not None and price.per_second is not None and "start" in price.bills
