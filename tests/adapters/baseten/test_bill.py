"""What Baseten bills for one model, of all that its organization has."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from adapters.base import Billed
from adapters.baseten.api import BasetenSettings
from adapters.baseten.backend import Baseten
from adapters.errors import BackendError, FailureClass
from adapters.types import Bill
from gateway.clock import SystemClock
from tests.adapters.baseten.platform import Model
from tests.adapters.baseten.stage import model_running, settings_for
from tests.adapters.scenarios import KEY

MIDNIGHT = 1_795_305_600.0
"""2026-11-22T00:00:00Z."""
DAY = 86_400.0


@pytest.fixture(scope="module")
def running() -> Iterator[tuple[Model, str]]:
    with model_running() as model:
        yield model


def billed(id: str, *days: dict[str, Any], **resource: Any) -> dict[str, Any]:
    return {
        "billable_resource": {"id": id, "kind": "MODEL_DEPLOYMENT", **resource},
        "subtotal": 1,
        "daily": list(days),
    }


def a_day(date: str, subtotal: Any, minutes: float | None = 2.0) -> dict[str, Any]:
    return {"date": date, "subtotal": subtotal, "minutes": minutes, "inference_requests": 3}


async def bill(
    running: tuple[Model, str], usage: Any, *, key: str = KEY, days: float = 2, **more: Any
) -> Bill:
    running[0].usage = usage
    settings = BasetenSettings(**{**settings_for(running[1], key), **more})
    backend = Baseten("b", settings, SystemClock())
    assert isinstance(backend, Billed)
    await backend.start()
    try:
        return await backend.bill(MIDNIGHT, MIDNIGHT + days * DAY)
    finally:
        await backend.aclose()


async def test_a_bill_is_by_the_day_and_of_the_models_own_deployments(
    running: tuple[Model, str],
) -> None:
    breakdown = [
        billed("d1", a_day("2026-11-22", 1.25), a_day("2026-11-23", "0.5", None), name="one"),
        billed("d2", a_day("2026-11-22", 0.000000001)),
        billed("another-models", a_day("2026-11-22", 9)),
        billed("d2", a_day("2026-11-22", 9), environment_name="staging"),
    ]
    found = await bill(running, {"dedicated_usage": {"total": 3, "breakdown": breakdown}})
    assert (found.cost_nano, found.seconds) == (1_750_000_001, 240.0)
    assert [((line.start - MIDNIGHT) / DAY, line.label) for line in found.lines] == [
        (0, "one"),
        (1, "one"),
        (0, "d2"),
    ]
    assert all(line.end - line.start == DAY for line in found.lines)


async def test_a_deployment_that_is_named_is_billed_alone_and_after_its_end_as_well(
    running: tuple[Model, str],
) -> None:
    breakdown = [
        billed("d1", a_day("2026-11-22", 1)),
        billed("gone", a_day("2026-11-22", 2), is_deleted=True, environment_name="production"),
    ]
    found = await bill(running, {"dedicated_usage": {"breakdown": breakdown}}, deployment="gone")
    assert found.cost_nano == 2_000_000_000


@pytest.mark.parametrize("usage", [{}, {"dedicated_usage": None}, {"training_usage": {}}])
async def test_what_was_not_used_is_an_empty_bill(running: tuple[Model, str], usage: Any) -> None:
    assert (await bill(running, usage)).lines == ()


@pytest.mark.parametrize(
    "usage",
    [
        [],
        {"dedicated_usage": {"breakdown": [{"subtotal": 1}]}},
        {"dedicated_usage": {"breakdown": [billed("d1", a_day("yesterday", 1))]}},
        {"dedicated_usage": {"breakdown": [billed("d1", a_day("2026-11-22", "NaN"))]}},
    ],
)
async def test_a_bill_that_cannot_be_read_is_an_error(
    running: tuple[Model, str], usage: Any
) -> None:
    with pytest.raises(BackendError) as caught:
        await bill(running, usage)
    assert caught.value.failure is FailureClass.MALFORMED


async def test_more_days_than_the_platform_tells_of_are_not_asked_for(
    running: tuple[Model, str],
) -> None:
    with pytest.raises(BackendError) as caught:
        await bill(running, {}, days=31.5)
    assert caught.value.failure is FailureClass.UNSUPPORTED
    assert (await bill(running, {}, days=31)).lines == ()


async def test_a_wrong_key_gets_no_bill(running: tuple[Model, str]) -> None:
    with pytest.raises(BackendError) as caught:
        await bill(running, {}, key="wrong")
    assert caught.value.failure is FailureClass.CREDENTIAL
