"""What the spare platform asks for a worker, and the bill that it writes."""

from __future__ import annotations

import contextlib
import time

import pytest

from adapters.runpod.backend import RunPod
from adapters.runpod.settings import RunPodSettings
from adapters.settings import Secret
from adapters.types import AskedPrice
from examples.overflow.meter import Bucket, Meter
from gateway.clock import SystemClock
from tests.adapters.runpod.platform import a_call
from tests.adapters.scenarios import KEY
from tests.adapters.stages import Front

HOUR = 3600.0


def test_a_worker_is_billed_from_its_start_to_its_end_in_the_hours_in_which_it_was_up() -> None:
    meter = Meter(0.36)
    span = meter.started(HOUR - 10.0)
    span.ended = HOUR + 20.2
    assert list(meter.buckets(0.0, 2 * HOUR, HOUR, now=3 * HOUR)) == [
        Bucket(0.0, 10),
        Bucket(HOUR, 21),
    ]
    assert meter.cost(21) == 0.0021


def test_a_worker_that_is_still_up_is_billed_until_now() -> None:
    meter = Meter(0.36)
    meter.started(100.0)
    meter.started(110.0)
    assert list(meter.buckets(0.0, HOUR, HOUR, now=120.0)) == [Bucket(0.0, 30)]


def test_a_period_without_workers_has_no_line() -> None:
    assert list(Meter(0.36).buckets(0.0, 24 * HOUR, HOUR, now=HOUR)) == []


def test_a_bill_of_endless_length_is_refused() -> None:
    with pytest.raises(ValueError, match="buckets"):
        list(Meter(0.36).buckets(0.0, 1e12, HOUR, now=HOUR))


async def test_the_front_serves_prices_and_a_bill_that_holds_more_than_jobs_say() -> None:
    options = ("--gpu-hour", "0.72", "--idle-timeout", "600", "--worker")
    with contextlib.closing(Front(*options, "tests.programs.runpod.worker")) as front:
        settings = RunPodSettings(
            endpoint="overflow",
            api_key=Secret(KEY),
            base_url=front.url,
            management_url=front.url,
        )
        backend = RunPod("rp", settings, SystemClock())
        await backend.start()
        try:
            source = front.url + "/catalog/gpus"
            assert await backend.asked_prices() == [
                AskedPrice(per_second_nano=200_000, device="this machine", source=source)
            ]
            began = time.time()
            assert (await backend.bill(began - HOUR, began + HOUR)).lines == ()
            ran = (await backend.invoke(a_call(b'{"sleep": 0.1}'))).usage.exec_s
            bill = await backend.bill(began, began + HOUR)
        finally:
            await backend.aclose()
    assert bill.seconds is not None
    assert ran is not None
    assert bill.seconds >= 1 > ran
    assert bill.cost_nano == bill.seconds * 200_000 == bill.parts["gpu"]
