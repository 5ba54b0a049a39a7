"""An input that cannot be kept, or vanishes, and a caller whom nothing limits: each batch ends, and
says why."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.api.batches.line_calls import read_call
from gateway.batches.input import LineFault, read_line
from gateway.clock import FakeClock
from gateway.types import ApiError, Principal
from tests.gateway.batches.gateways import ENDED, input_of, with_batches
from tests.gateway.jobs.gateways import POLICY
from tests.waiting import until

INFER = "/v1/infer/any"
LINE = '{"custom_id": "%s", "method": "POST", "url": "/v1/infer/any", "body": {"x": "y"}}'
UNLIMITED = POLICY.partition("plans:")[0] + "plans: {default: {}}\n"

BROKEN = [
    pytest.param((LINE % "a\\u0000b").encode(), id="a NUL"),
    pytest.param((LINE % "a\\ud800b").encode(), id="half of a surrogate pair"),
    pytest.param((LINE % "ab").encode().replace(b"y", b"\xff"), id="no UTF-8 in its body"),
]


@pytest.mark.parametrize("text", BROKEN)
def test_what_no_store_can_keep_is_a_fault_of_its_line(text: bytes) -> None:
    with pytest.raises(LineFault):
        read_line(text, INFER)


@pytest.mark.parametrize("text", BROKEN)
async def test_a_batch_of_such_a_line_fails_before_anything_is_run(
    text: bytes, tmp_path: Path, clock: FakeClock
) -> None:
    async with with_batches(tmp_path, clock) as gateway, gateway.client() as client:
        batch = await gateway.batch(client, input_of([{"x": 1}]) + text + b"\n")
        failed = await gateway.until_status(client, batch["id"], *ENDED)
        assert failed["status"] == "failed"
        assert [one["line"] for one in failed["errors"]["data"]] == [2]
        assert gateway.fake("home").calls == []


async def test_a_body_that_is_no_text_is_refused_on_the_way_to_any_route(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with with_batches(tmp_path, clock) as gateway:
        found = gateway.inner.keys.find(gateway.key())
        assert isinstance(found, Principal)
        with pytest.raises(ApiError) as refused:
            read_call(gateway.inner.active, found, INFER, b'{"x": "\xff"}')
        assert (refused.value.status, refused.value.code) == (400, "invalid_json")


async def test_a_budget_holds_for_a_caller_whom_nothing_limits(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with (
        with_batches(tmp_path, clock, text=UNLIMITED) as gateway,
        gateway.client() as client,
    ):
        headers = {"X-Spillgate-Budget": "0.05 USD"}
        data = input_of([{"x": n} for n in range(20)], "/v1/infer/far")
        batch = await gateway.batch(client, data, "/v1/infer/far", headers=headers)
        ended = await gateway.until_status(client, batch["id"], *ENDED)
        assert 0 < ended["request_counts"]["completed"] < 20
        assert float(ended["cost_usd"]) <= 0.05


async def test_a_batch_whose_input_vanishes_ends_and_keeps_what_it_has(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with with_batches(tmp_path, clock) as gateway, gateway.client() as client:
        gateway.platform.full = True
        data = input_of([{"x": n} for n in range(90)], "/v1/infer/far")
        batch = await gateway.batch(client, data, "/v1/infer/far")
        await gateway.until_status(client, batch["id"], "in_progress")

        async def is_fed() -> bool:
            await gateway.clock.advance(0.5)
            return gateway.platform.refused > 0

        await until(is_fed, "some of its lines are jobs", every_s=0.001)
        files = gateway.inner.stored_files
        assert files is not None
        await files.drop(batch["input_file_id"])
        gateway.platform.full = False
        ended = await gateway.until_status(client, batch["id"], *ENDED)
        counts = ended["request_counts"]
        assert ended["status"] == "failed"
        assert 0 < counts["completed"] == len(gateway.platform.jobs) < 90
        assert counts["completed"] + counts["failed"] == 90
        assert len(await gateway.lines(client, ended["output_file_id"])) == counts["completed"]


async def test_each_line_waits_for_a_minute_of_its_own_before_a_limit_refuses_it(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with with_batches(tmp_path, clock) as gateway:
        key = gateway.key(plan="small")
        async with gateway.client(key) as client:
            data = input_of([{"x": n} for n in range(8)], "/v1/infer/far")
            batch = await gateway.batch(client, data, "/v1/infer/far")
            ended = await gateway.until_status(client, batch["id"], *ENDED, step=5.0)
        refused = ended["request_counts"]["failed"]
        assert 1 < refused < 8
        assert ended["completed_at"] - ended["created_at"] >= 60 * refused
