"""What Replicate bills for one model, deployment or version: the seconds that its predictions ran,
read out of the account's list of predictions. Pure.

The platform states no amounts over its API: what a second costs is the policy's price. What
instances of a deployment or a private model cost while they start and idle is not in it, and
neither are models that are priced by tokens or images; the platform's dashboard has these.

Assumed, for nothing here was run against the live platform: the list takes ``created_after`` and
``created_before`` (both are checked here again), is ordered from the newest on, and keeps what a
prediction's metrics say when its output is gone.

Source: https://replicate.com/docs/reference/http#predictions.list, as of 2025-10.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Iterator
from datetime import datetime
from urllib.parse import urlencode, urlsplit

import msgspec

from adapters.bills import UNREADABLE_BILL, rfc3339
from adapters.errors import BackendError, FailureClass, malformed
from adapters.http.predictions import Prediction
from adapters.shapes.json_texts import read
from adapters.types import Bill, BillLine

_HOUR = 3600.0
_MOST_PAGES = 1000
_MOST = "The platform lists more than 1,000 pages of predictions: ask for a shorter period."


class ListedPrediction(Prediction, frozen=True, kw_only=True):
    """A prediction with what it ran on."""

    model: str | None = None
    version: str | None = None
    deployment: str | None = None


class _Page(msgspec.Struct, frozen=True):
    results: tuple[ListedPrediction, ...]
    next: str | None = None


async def listed(
    ask: Callable[[str], Awaitable[bytes]], start: float, end: float
) -> list[ListedPrediction]:
    """All predictions of the account that were created from ``start`` to ``end``. ``ask`` is given
    a path and returns the body. Raises BackendError."""
    asked = {"created_after": rfc3339(start), "created_before": rfc3339(end)}
    path = f"/predictions?{urlencode(asked)}"
    found: list[ListedPrediction] = []
    for _ in range(_MOST_PAGES):
        page = read(await ask(path), _Page, UNREADABLE_BILL)
        found += (one for one in page.results if start <= _created(one) < end)
        older = [one for one in page.results if _created(one) < start]
        if page.next is None or older:
            return found
        # The cursor alone is taken: an answer does not say which host gets the key.
        path = f"/predictions?{urlsplit(page.next).query}"
    raise BackendError(FailureClass.FAILED, _MOST)


def bill_of(
    predictions: Iterable[ListedPrediction],
    start: float,
    end: float,
    *,
    ours: Callable[[ListedPrediction], bool],
) -> Bill:
    """By the hour in which they were created. One that has not ended is not on it."""
    return Bill(
        start=start,
        end=end,
        lines=tuple(_lines(one for one in predictions if one.final and ours(one))),
        of_runs=True,
    )


def _lines(predictions: Iterable[ListedPrediction]) -> Iterator[BillLine]:
    hours: defaultdict[float, list[float]] = defaultdict(list)
    for one in predictions:
        hours[_created(one) // _HOUR * _HOUR].append(one.predict_time or 0.0)
    for hour, seconds in sorted(hours.items()):
        yield BillLine(
            start=hour,
            end=hour + _HOUR,
            cost_nano=None,
            seconds=sum(seconds),
            calls=len(seconds),
        )


def _created(prediction: Prediction) -> float:
    try:
        return datetime.fromisoformat(prediction.created_at or "").timestamp()
    except ValueError:
        raise malformed(UNREADABLE_BILL, detail="a prediction has no created_at") from None
