"""What Replicate bills for one model: the seconds of its own predictions, of a list in pages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from adapters.base import Billed
from adapters.errors import BackendError, FailureClass
from adapters.replicate.api import ReplicateSettings
from adapters.replicate.backend import Replicate
from adapters.settings import Secret
from adapters.types import Bill
from gateway.clock import SystemClock
from tests.adapters.scenarios import KEY
from tests.adapters.served import served

MIDNIGHT = 1_795_305_600.0
"""2026-11-22T00:00:00Z."""
HOUR = 3600.0


def ran(at: str, seconds: float | None, status: str = "succeeded", **more: Any) -> dict[str, Any]:
    metrics = {} if seconds is None else {"predict_time": seconds}
    base = {"id": at, "status": status, "created_at": at, "metrics": metrics, "model": "o/n"}
    return {**base, "version": "hidden", **more}


class Listing:
    """Answers ``/predictions`` with one page after the other, newest first."""

    def __init__(self, *pages: Any, host: str = "https://elsewhere.test") -> None:
        self._pages = pages
        self._host = host
        self.asked: list[dict[str, list[str]]] = []

    def app(self) -> Starlette:
        return Starlette(routes=[Route("/v1/predictions", self.page)])

    async def page(self, request: Request) -> Response:
        assert request.headers["authorization"] == f"Bearer {KEY}"
        self.asked.append(parse_qs(urlsplit(str(request.url)).query))
        number = int(request.query_params.get("cursor", "0"))
        page = self._pages[number]
        if not isinstance(page, list):
            return JSONResponse(page)
        last = number + 1 == len(self._pages)
        following = None if last else f"{self._host}/v1/predictions?cursor={number + 1}"
        return JSONResponse({"results": page, "next": following, "previous": None})


async def bill(listing: Listing, **what: str) -> Bill:
    with served(listing.app()) as url:
        settings = ReplicateSettings(
            **(what or {"model": "o/n"}),  # type: ignore[arg-type]
            api_key=Secret(KEY),
            base_url=f"{url}/v1",
        )
        backend = Replicate("r", settings, SystemClock())
        assert isinstance(backend, Billed)
        await backend.start()
        try:
            return await backend.bill(MIDNIGHT, MIDNIGHT + 24 * HOUR)
        finally:
            await backend.aclose()


async def test_seconds_are_summed_by_the_hour_over_all_pages() -> None:
    listing = Listing(
        [ran("2026-11-22T05:10:00Z", 4.0), ran("2026-11-22T05:00:00.5Z", 1.5)],
        [ran("2026-11-22T00:00:00Z", 2.0, "failed"), ran("2026-11-22T00:00:01Z", None, "aborted")],
    )
    found = await bill(listing)
    assert [((line.start - MIDNIGHT) / HOUR, line.seconds, line.calls) for line in found.lines] == [
        (0, 2.0, 2),
        (5, 5.5, 2),
    ]
    assert (found.of_runs, found.seconds, found.calls) == (True, 7.5, 4)
    assert all(line.cost_nano is None for line in found.lines)
    assert listing.asked == [
        {"created_after": ["2026-11-22T00:00:00Z"], "created_before": ["2026-11-23T00:00:00Z"]},
        {"cursor": ["1"]},
    ]


async def test_a_list_that_ignores_the_period_is_read_until_it_is_too_old() -> None:
    listing = Listing(
        [ran("2026-11-24T00:00:00Z", 100.0), ran("2026-11-22T00:00:00Z", 1.0)],
        [ran("2026-11-21T23:59:59Z", 100.0)],
        [ran("2026-11-20T00:00:00Z", 100.0)],
    )
    assert (await bill(listing)).seconds == 1.0
    assert len(listing.asked) == 2


@pytest.mark.parametrize(
    ("what", "seconds"),
    [
        ({"model": "o/n"}, 1.0),
        ({"deployment": "o/d"}, 2.0),
        ({"version": "v1"}, 4.0),
        ({"version": "o/n:v1"}, 4.0),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
async def test_what_ran_elsewhere_in_the_account_is_not_on_it(
    what: dict[str, str], seconds: float
) -> None:
    at = "2026-11-22T00:00:00Z"
    listing = Listing(
        [
            ran(at, 1.0),
            ran(at, 2.0, deployment="o/d", version="v1"),
            ran(at, 4.0, model="o/other", version="v1"),
            ran(at, 8.0, model="o/third", version="v3"),
            ran(at, None, "processing"),
        ]
    )
    assert (await bill(listing, **what)).seconds == seconds


BROKEN: dict[str, Callable[[], Listing]] = {
    "a web page's shape": lambda: Listing({"results": "none"}),
    "no instant": lambda: Listing([ran("yesterday", 1.0)]),
}


@pytest.mark.parametrize("name", BROKEN)
async def test_a_list_that_cannot_be_read_is_an_error(name: str) -> None:
    with pytest.raises(BackendError) as caught:
        await bill(BROKEN[name]())
    assert caught.value.failure is FailureClass.MALFORMED
