"""What RunPod's catalogue asks for the GPUs of one endpoint."""

from __future__ import annotations

from typing import Any

import pytest

from adapters.base import Priced
from adapters.errors import BackendError, FailureClass
from gateway.clock import FakeClock
from tests.adapters.runpod.platform import platform
from tests.adapters.servers import answer

CATALOGUE = {
    "gpus": [
        {"id": "NVIDIA H100 80GB HBM3", "pool": "HOPPER_80", "price": {"serverless": 4.176}},
        {"id": "NVIDIA H100 NVL", "pool": "HOPPER_80", "price": {"serverless": "3.6"}},
        {"id": "NVIDIA L4", "pool": "ADA_24", "price": {"secure": 0.4, "serverless": 0.684}},
        {"id": "NVIDIA A30", "pool": "AMPERE_24", "price": {"secure": 0.3}},
        {"id": "NVIDIA T4", "pool": "TURING_16", "price": {"serverless": None}},
        {"id": "NVIDIA GB1", "price": {"serverless": 1e9}},
        {"id": "NVIDIA GB2"},
    ]
}


async def asked(clock: FakeClock, gpu: Any, *more: Any) -> list[tuple[str, int, int]]:
    answers = [answer({"id": "ep", "gpu": gpu}), answer(CATALOGUE), *map(answer, more)]
    async with platform(clock, *answers) as (backend, script):
        assert isinstance(backend, Priced)
        found = await backend.asked_prices()
    assert script.targets()[:2] == ["GET /v2/serverless/ep", "GET /v2/catalog/gpus"]
    return [(one.device, one.devices, one.per_second_nano) for one in found]


@pytest.mark.parametrize("key", ["types", "gpuTypeIds", "ids"])
async def test_a_gpu_hour_becomes_the_second_of_a_worker(clock: FakeClock, key: str) -> None:
    found = await asked(clock, {key: ["NVIDIA H100 80GB HBM3"], "count": 2})
    assert found == [("NVIDIA H100 80GB HBM3", 2, 2_320_000)]


async def test_every_type_of_a_pool_may_be_what_runs_but_for_those_left_out(
    clock: FakeClock,
) -> None:
    gpu = {"pools": ["ADA_24", "HOPPER_80"], "excludedTypes": ["NVIDIA H100 NVL"]}
    assert await asked(clock, gpu) == [
        ("NVIDIA L4", 1, 190_000),
        ("NVIDIA H100 80GB HBM3", 1, 1_160_000),
    ]


async def test_a_type_that_is_named_and_in_a_pool_is_told_once(clock: FakeClock) -> None:
    assert await asked(clock, {"types": ["NVIDIA L4"], "pools": ["ADA_24"], "count": None}) == [
        ("NVIDIA L4", 1, 190_000)
    ]


@pytest.mark.parametrize("gpu", [{"kind": "unheard of"}, {"types": ["NVIDIA A30"]}, None])
async def test_where_an_endpoints_words_lead_to_no_price_its_workers_are_looked_at(
    clock: FakeClock, gpu: Any
) -> None:
    workers = [
        {"id": "w1", "gpuTypeId": "NVIDIA L4", "gpuCount": 1},
        {"id": "w2", "gpuTypeId": "NVIDIA L4", "gpuCount": 1},
        {"id": "w3", "gpuTypeId": "NVIDIA H100 NVL", "gpuCount": 4},
        {"id": "w4"},
    ]
    assert await asked(clock, gpu, {"workers": workers, "summary": {}}) == [
        ("NVIDIA L4", 1, 190_000),
        ("NVIDIA H100 NVL", 4, 4_000_000),
    ]


@pytest.mark.parametrize("named", ["NVIDIA T4", "NVIDIA GB1", "NVIDIA GB2", "NVIDIA none"])
async def test_a_price_that_nobody_states_or_believes_is_not_made_up(
    clock: FakeClock, named: str
) -> None:
    with pytest.raises(BackendError) as caught:
        await asked(clock, {"types": [named]}, {"workers": []})
    assert caught.value.failure is FailureClass.UNSUPPORTED
    assert "no serverless price" in caught.value.message


@pytest.mark.parametrize("body", [b"<html>", {"gpus": 3}, {"gpus": [{"name": "no id"}]}, {}])
async def test_a_catalogue_that_cannot_be_read_is_an_error(clock: FakeClock, body: Any) -> None:
    answers = [answer({"gpu": {"types": ["NVIDIA L4"]}}), answer(body)]
    async with platform(clock, *answers) as (backend, _):
        with pytest.raises(BackendError) as caught:
            await backend.asked_prices()
    assert caught.value.failure is FailureClass.MALFORMED
