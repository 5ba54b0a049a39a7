"""RunPod's management plane, scripted: workers, their bounds, the bill."""

from __future__ import annotations

from typing import Any

import pytest

from adapters.base import Billed
from adapters.errors import BackendError, FailureClass
from gateway.clock import FakeClock
from tests.adapters.runpod.platform import platform
from tests.adapters.servers import answer

DAY = 86_400.0
MIDNIGHT = 1_795_305_600.0
"""2026-11-22T00:00:00Z."""


async def test_a_bill_is_the_platforms_records_of_this_endpoint(clock: FakeClock) -> None:
    records = [
        {
            "time": "2026-11-22T00:00:00Z",
            "totalAmount": 1.25,
            "timeBilledMs": 4_000,
            "gpuAmount": 1,
            "diskAmount": 0.05,
            "feeAmount": 0.2,
            "cpuAmount": 0,
        },
        {"startTime": "2026-11-22T01:00:00+00:00", "totalAmount": "0.000000001"},
        {"time": "2026-11-22T01:00:00Z", "totalAmount": 9, "serverlessId": "another"},
    ]
    async with platform(clock, answer({"records": records})) as (backend, script):
        assert isinstance(backend, Billed)
        bill = await backend.bill(MIDNIGHT, MIDNIGHT + 7200.0)
    assert script.targets() == [
        "GET /v2/billing/serverless?serverlessId=ep&bucketSize=hour"
        "&startTime=2026-11-22T00%3A00%3A00Z&endTime=2026-11-22T02%3A00%3A00Z"
    ]
    assert bill.cost_nano == 1_250_000_001
    assert bill.seconds == 4.0
    assert bill.parts == {"gpu": 1_000_000_000, "disk": 50_000_000, "fee": 200_000_000}
    assert [(line.start - MIDNIGHT, line.end - MIDNIGHT) for line in bill.lines] == [
        (0.0, 3600.0),
        (3600.0, 7200.0),
    ]


async def test_a_long_bill_is_asked_for_by_the_day(clock: FakeClock) -> None:
    """A bare list is read as well, and a record without a date is laid over the whole period."""
    async with platform(clock, answer([{"totalAmount": 2}])) as (backend, script):
        bill = await backend.bill(MIDNIGHT, MIDNIGHT + 30 * DAY)
    assert "bucketSize=day" in script.requests[0].target
    [line] = bill.lines
    assert (line.start, line.end) == (MIDNIGHT, MIDNIGHT + 30 * DAY)


@pytest.mark.parametrize(
    "body",
    [
        b"<html>",
        {"records": 3},
        {"records": [{"amount": 1}]},
        {"records": [{"totalAmount": "x"}]},
        {"records": [{"totalAmount": "NaN"}]},
        {"records": [{"totalAmount": 1, "feeAmount": "Infinity"}]},
    ],
)
async def test_a_bill_that_cannot_be_read_is_an_error_and_never_nothing(
    clock: FakeClock, body: Any
) -> None:
    async with platform(clock, answer(body)) as (backend, _):
        with pytest.raises(BackendError) as caught:
            await backend.bill(MIDNIGHT, MIDNIGHT + DAY)
        assert caught.value.failure is FailureClass.MALFORMED


async def test_a_throttled_question_says_when_to_ask_again(clock: FakeClock) -> None:
    """Problem JSON, with Retry-After."""
    problem = answer({"title": "Too many", "detail": "slow down"}, 429, Retry_After="7")
    async with platform(clock, problem) as (backend, _):
        with pytest.raises(BackendError) as caught:
            await backend.bill(MIDNIGHT, MIDNIGHT + DAY)
    assert caught.value.failure is FailureClass.OVERLOADED
    assert caught.value.retry_after == 7.0


@pytest.mark.parametrize(
    ("health", "bounds", "detail"),
    [
        ({"throttled": 2}, answer({"workers": {"max": 3}}), "throttled"),
        ({}, answer({"workers": {"max": 3}}), "no worker starts"),
        ({}, answer({}, 500), "no worker starts"),
        ({"initializing": 1}, b"", ""),
    ],
)
async def test_a_probe_says_why_jobs_wait(
    clock: FakeClock, health: dict[str, int], bounds: bytes, detail: str
) -> None:
    first = answer({"jobs": {"inQueue": 1}, "workers": health})
    async with platform(clock, first, bounds) as (backend, _):
        probe = await backend.probe()
    assert detail in probe.detail
    assert bool(probe.detail) is bool(detail)
