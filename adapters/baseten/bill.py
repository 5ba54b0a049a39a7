"""What Baseten bills for one model, read out of its usage summary. Pure.

The summary is of the whole organization, by deployment and by day (UTC), 31 days at most, and
deployments that were deleted are still in it. A bill here is of the deployments that the model
has: of one, where the policy names it; else of those whose environment is the policy's, or is not
told. Credits and discounts are not in it.

Assumed, for nothing here was run against the live platform: amounts are US dollars; a resource's
``id`` is the deployment's.

Source: https://docs.baseten.co/reference/management-api/billing, as of 2026-09.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from urllib.parse import urlencode

import msgspec

from adapters.baseten.api import BasetenSettings
from adapters.bills import DAY_S, UNREADABLE_BILL, nano_of, rfc3339
from adapters.errors import BackendError, FailureClass
from adapters.shapes.json_texts import read
from adapters.types import Bill, BillLine

_LONGEST_S = 31 * DAY_S


class _Daily(msgspec.Struct, frozen=True):
    date: date
    subtotal: Decimal
    minutes: float | None = None


class _Resource(msgspec.Struct, frozen=True):
    id: str
    name: str | None = None
    environment_name: str | None = None


class _Item(msgspec.Struct, frozen=True):
    billable_resource: _Resource
    daily: tuple[_Daily, ...]


class _Dedicated(msgspec.Struct, frozen=True):
    breakdown: tuple[_Item, ...] = ()


class _Summary(msgspec.Struct, frozen=True):
    dedicated_usage: _Dedicated | None = None


class _Listed(msgspec.Struct, frozen=True):
    id: str


class _Deployments(msgspec.Struct, frozen=True):
    deployments: tuple[_Listed, ...]


def query_for(start: float, end: float) -> str:
    """The summary's path. Raises UNSUPPORTED for more days than the platform tells of."""
    if end - start > _LONGEST_S:
        raise BackendError(FailureClass.UNSUPPORTED, "The platform bills 31 days at most at once.")
    asked = {"start_date": rfc3339(start), "end_date": rfc3339(end)}
    return f"/billing/usage_summary?{urlencode(asked)}"


def deployments_of(body: bytes) -> frozenset[str]:
    """The ids of a model's deployments."""
    return frozenset(one.id for one in read(body, _Deployments, UNREADABLE_BILL).deployments)


def bill_of(
    body: bytes, settings: BasetenSettings, mine: frozenset[str], start: float, end: float
) -> Bill:
    """What the summary says of the deployments ``mine``, which are the model's. Raises FAILED for
    anything that is no summary."""
    usage = read(body, _Summary, UNREADABLE_BILL).dedicated_usage or _Dedicated()
    lines = [
        line
        for item in usage.breakdown
        if _is_called(item.billable_resource, settings, mine)
        for line in _lines(item)
    ]
    return Bill(start=start, end=end, lines=tuple(lines))


def _is_called(resource: _Resource, settings: BasetenSettings, mine: frozenset[str]) -> bool:
    if settings.deployment is not None:
        return resource.id == settings.deployment
    return resource.id in mine and resource.environment_name in (None, "", settings.environment)


def _lines(item: _Item) -> Iterator[BillLine]:
    resource = item.billable_resource
    for day in item.daily:
        began = datetime(day.date.year, day.date.month, day.date.day, tzinfo=UTC).timestamp()
        yield BillLine(
            start=began,
            end=began + DAY_S,
            cost_nano=nano_of(day.subtotal),
            seconds=None if day.minutes is None else day.minutes * 60,
            label=resource.name or resource.id,
        )
