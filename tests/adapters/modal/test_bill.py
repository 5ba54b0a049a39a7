"""What Modal's own billing report says of a function's app, through its own SDK."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from grpclib import GRPCError, Status
from modal_proto import api_pb2

from adapters.base import Billed
from adapters.errors import BackendError, FailureClass
from tests.adapters.modal.backends import FUNCTIONS, TOKEN, backend_for
from tests.adapters.modal.platform import ModalPlatform, modal_running

MIDNIGHT = 1_795_305_600
"""2026-11-22T00:00:00Z."""
HOUR, DAY = 3600, 86_400


@pytest.fixture
def platform() -> Iterator[ModalPlatform]:
    with modal_running(FUNCTIONS, TOKEN) as running:
        yield running


def item(app: str, began: int, cost: str, **by_resource: str) -> api_pb2.WorkspaceBillingReportItem:
    told = api_pb2.WorkspaceBillingReportItem(
        object_id=app, description="minilm", cost=cost, cost_by_resource=by_resource
    )
    told.interval.FromSeconds(began)
    return told


async def test_a_bill_is_what_the_report_says_of_the_functions_app(
    platform: ModalPlatform,
) -> None:
    platform.report = [
        item("ap-app", MIDNIGHT, "1.25", H100="1.2", CPU="0.05", Memory="0"),
        item("ap-other", MIDNIGHT, "9"),
        item("ap-app", MIDNIGHT + HOUR, "0.000000001"),
    ]
    backend = backend_for(platform)
    assert isinstance(backend, Billed)
    try:
        bill = await backend.bill(MIDNIGHT, MIDNIGHT + 2 * HOUR)
    finally:
        await backend.aclose()
    assert (bill.cost_nano, bill.seconds) == (1_250_000_001, None)
    assert bill.parts == {"H100": 1_200_000_000, "CPU": 50_000_000}
    assert [(line.start - MIDNIGHT, line.end - MIDNIGHT, line.label) for line in bill.lines] == [
        (0, HOUR, "minilm"),
        (HOUR, 2 * HOUR, "minilm"),
    ]
    [asked] = platform.reports
    assert (asked.resolution, asked.start_timestamp.seconds, asked.end_timestamp.seconds) == (
        "h",
        MIDNIGHT,
        MIDNIGHT + 2 * HOUR,
    )
    assert not platform.submits


async def test_a_long_bill_is_asked_for_by_the_day(platform: ModalPlatform) -> None:
    platform.report = [item("ap-app", MIDNIGHT, "2")]
    backend = backend_for(platform)
    try:
        [line] = (await backend.bill(MIDNIGHT, MIDNIGHT + 30 * DAY)).lines
    finally:
        await backend.aclose()
    assert (line.start, line.end) == (MIDNIGHT, MIDNIGHT + DAY)
    assert platform.reports[0].resolution == "d"


@pytest.mark.parametrize(
    ("rpc", "status", "failure"),
    [
        ("WorkspaceBillingReport", Status.PERMISSION_DENIED, FailureClass.CREDENTIAL),
        ("AppGetOrCreate", Status.NOT_FOUND, FailureClass.GONE),
    ],
)
async def test_a_report_that_is_refused_says_why(
    platform: ModalPlatform, rpc: str, status: Status, failure: FailureClass
) -> None:
    platform.fail(rpc, GRPCError(status, "not for this token"))
    backend = backend_for(platform)
    try:
        with pytest.raises(BackendError) as caught:
            await backend.bill(MIDNIGHT, MIDNIGHT + DAY)
    finally:
        await backend.aclose()
    assert caught.value.failure is failure


async def test_an_endpoint_by_its_address_has_no_app_to_bill(platform: ModalPlatform) -> None:
    backend = backend_for(
        platform, url="https://acme--x.modal.run", function=None, stream=None, app=None
    )
    with pytest.raises(BackendError) as caught:
        await backend.bill(MIDNIGHT, MIDNIGHT + DAY)
    assert caught.value.failure is FailureClass.UNSUPPORTED
    await backend.aclose()
