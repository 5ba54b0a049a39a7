"""What Modal bills for the app of a function, by the hour or by the day.

The platform's report names objects, such as an app, and not functions: where several backends are
functions of one app, each of them has the whole app's bill. Amounts are before credits and
discounts. It states no seconds, and leaves out an interval that has not ended.

Source: https://modal.com/docs/sdk/py/latest/Workspace, and the package itself (modal 1.6.4).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from adapters.bills import DAY_S, nano_of
from adapters.modal.sdk import Session
from adapters.types import Bill, BillLine

_STEPS = {"h": 3600.0, "d": DAY_S}


async def bill_of(session: Session, start: float, end: float) -> Bill:
    """By the hour up to four days. Raises what the SDK raises."""
    resolution = "h" if end - start <= 4 * DAY_S else "d"
    app = await session.app_id()
    report = await session.billed(_at(start), _at(end), resolution)
    lines = [_line(item, _STEPS[resolution]) for item in report if item.object_id == app]
    return Bill(start=start, end=end, lines=tuple(lines))


def _line(item: Any, step: float) -> BillLine:
    began = item.interval_start.timestamp()
    return BillLine(
        start=began,
        end=began + step,
        cost_nano=nano_of(item.cost),
        label=str(item.description),
        parts=_parts(item.cost_by_resource),
    )


def _parts(costs: Mapping[str, Decimal]) -> dict[str, int]:
    return {str(name): nano_of(cost) for name, cost in costs.items() if cost}


def _at(instant: float) -> datetime:
    return datetime.fromtimestamp(instant, UTC)
