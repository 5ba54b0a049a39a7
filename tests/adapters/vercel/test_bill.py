"""What Vercel's AI Gateway bills an account."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from adapters.base import Billed
from adapters.errors import BackendError, FailureClass
from adapters.settings import Secret
from adapters.types import Bill
from adapters.vercel.backend import Vercel, VercelSettings
from gateway.clock import SystemClock
from tests.adapters.scenarios import KEY
from tests.adapters.served import served
from tests.adapters.vercel.platform import AIGateway

MIDNIGHT = 1_795_305_600.0
"""2026-11-22T00:00:00Z."""
DAY = 86_400.0


@pytest.fixture(scope="module")
def running() -> Iterator[tuple[AIGateway, str]]:
    platform = AIGateway(KEY)
    with served(platform.app()) as url:
        yield platform, url


async def bill(
    running: tuple[AIGateway, str], results: Any, start: float, end: float, key: str = KEY
) -> Bill:
    running[0].results = results
    settings = VercelSettings(api_key=Secret(key), base_url=running[1] + "/v1")
    backend = Vercel("v", settings, SystemClock())
    assert isinstance(backend, Billed)
    await backend.start()
    try:
        return await backend.bill(start, end)
    finally:
        await backend.aclose()


async def test_a_bill_is_the_accounts_by_the_day(running: tuple[AIGateway, str]) -> None:
    results = [
        {"day": "2026-11-22", "total_cost": 1.25, "market_cost": 2, "request_count": 7},
        {"day": "2026-11-23", "total_cost": "0.000000001"},
    ]
    found = await bill(running, results, MIDNIGHT + 3600, MIDNIGHT + 2 * DAY)
    assert running[0].reports[-1] == {"start_date": "2026-11-22", "end_date": "2026-11-23"}
    assert (found.cost_nano, found.seconds) == (1_250_000_001, None)
    assert [
        ((line.start - MIDNIGHT) / DAY, (line.end - MIDNIGHT) / DAY) for line in found.lines
    ] == [
        (0, 1),
        (1, 2),
    ]
    assert {line.label for line in found.lines} == {"the whole account"}


async def test_a_result_without_a_day_is_laid_over_the_period(
    running: tuple[AIGateway, str],
) -> None:
    [line] = (await bill(running, [{"total_cost": 2}], MIDNIGHT, MIDNIGHT + DAY)).lines
    assert (line.start, line.end, line.cost_nano) == (MIDNIGHT, MIDNIGHT + DAY, 2_000_000_000)


@pytest.mark.parametrize(
    "results", [3, [{"cost": 1}], [{"total_cost": "x"}], [{"total_cost": "NaN"}]]
)
async def test_a_bill_that_cannot_be_read_is_an_error(
    running: tuple[AIGateway, str], results: Any
) -> None:
    with pytest.raises(BackendError) as caught:
        await bill(running, results, MIDNIGHT, MIDNIGHT + DAY)
    assert caught.value.failure is FailureClass.MALFORMED


async def test_a_wrong_key_gets_no_bill(running: tuple[AIGateway, str]) -> None:
    with pytest.raises(BackendError) as caught:
        await bill(running, [], MIDNIGHT, MIDNIGHT + DAY, key="wrong")
    assert caught.value.failure is FailureClass.CREDENTIAL
