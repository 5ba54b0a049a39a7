"""Work that was promised to its caller: admitted, held and settled as a call is that waits."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from adapters.errors import BackendError, FailureClass
from adapters.types import Reply, Usage
from gateway.clock import FakeClock
from gateway.storage.base import LedgerRow
from gateway.types import ApiError
from tests.gateway.api.test_explained_afterwards import LoggedCalls
from tests.gateway.assembled import POLICY, AssembledGateway, assembled
from tests.gateway.calls.test_dispatcher import held
from tests.waiting import until

USED = Usage(exec_s=4.0, gpu_s=4.0, reported=True)
PROMISE = b'{"job_id":"req_1"}'


class Work:
    """What a backend has promised; it ends when the test says so."""

    def __init__(self, *, outlives: bool = False) -> None:
        self.end: asyncio.Future[Usage] = asyncio.get_running_loop().create_future()
        self.reply = Reply(body=PROMISE, status=202, rest=self._rest, outlives=outlives)

    async def _rest(self) -> Usage:
        return await self.end


async def settled(gateway: AssembledGateway, call_id: str) -> LedgerRow:
    async def ended() -> bool:
        rows = await gateway.rows(call_id)
        return bool(rows) and rows[0].outcome != "open"

    await until(ended, "the call is settled", every_s=0.001)
    return await gateway.row(call_id)


async def test_the_caller_has_its_promise_while_the_row_is_open_and_the_money_is_held(
    tmp_path: Path, clock: FakeClock
) -> None:
    """Then what the work used is charged like any call."""
    async with assembled(tmp_path, clock) as gateway:
        work = Work()
        gateway.fake("home").tell(work.reply)
        state = gateway.call_state("any")
        answer = await gateway.ask(state)
        assert isinstance(answer, Reply)
        assert (answer.body, answer.status) == (PROMISE, 202)
        assert (await gateway.row(state.call.id)).outcome == "open"
        calls, money = await held(gateway)
        assert (calls, money > 0) == (1, True)
        work.end.set_result(USED)
        row = await settled(gateway, state.call.id)
        assert (row.outcome, row.status, row.gpu_us) == ("success", 202, 4_000_000)
        assert row.cost_nano == 4_000_000
        assert await held(gateway) == (0, 4_000_000)


async def test_work_that_fails_is_charged_what_it_used(tmp_path: Path, clock: FakeClock) -> None:
    async with assembled(tmp_path, clock) as gateway:
        work = Work()
        gateway.fake("home").tell(work.reply)
        state = gateway.call_state("any")
        await gateway.ask(state)
        work.end.set_exception(BackendError(FailureClass.FAILED, "it failed", usage=USED))
        row = await settled(gateway, state.call.id)
        assert (row.outcome, row.error, row.cost_nano) == ("error", "failed", 4_000_000)
        assert row.history is not None
        assert [attempt.message for attempt in row.history.attempts] == ["it failed"]


async def test_a_budget_that_is_used_up_refuses_the_next_and_stops_the_one_that_runs(
    tmp_path: Path, clock: FakeClock
) -> None:
    """A job is no way past a cap."""
    async with assembled(tmp_path, clock) as gateway:
        key = gateway.key(limits={"spend": "0.01 USD/day"})
        principal = gateway.inner.keys.find(key)
        assert principal is not None
        work = Work()
        gateway.fake("home").tell(work.reply)
        state = gateway.call_state("any", principal=principal)
        await gateway.ask(state)
        assert state.job is not None
        await gateway.until_done([state.job], 1.0)
        row = await settled(gateway, state.call.id)
        assert (row.error, row.cost_nano <= 10_000_000) == ("budget_exhausted", True)
        assert row.cost_nano > 7_000_000
        assert gateway.fake("home").cancelled == [state.call.id]
        with pytest.raises(ApiError) as refused:
            await gateway.ask(gateway.call_state("any", principal=principal))
        assert refused.value.status == 402


async def test_its_place_in_line_goes_to_the_next_as_soon_as_it_is_promised(
    tmp_path: Path, clock: FakeClock
) -> None:
    """It counts as at work there: predictions know of it."""
    text = POLICY.replace("slots: 2", "slots: 1, concurrency: 1")
    async with assembled(tmp_path, clock, text) as gateway:
        works = [Work() for _ in range(3)]
        gateway.fake("home").tell(*(work.reply for work in works))
        for _ in works:
            await gateway.ask(gateway.call_state("any"))
        home = gateway.inner.active.backends["home"]
        assert home.in_flight == 3
        for work in works:
            work.end.set_result(USED)
        await until(lambda: home.in_flight == 0, "all have ended")


async def test_work_that_ends_with_the_gateway_is_stopped_and_charged(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock) as gateway:
        work = Work()
        gateway.fake("home").tell(work.reply)
        state = gateway.call_state("any")
        await gateway.ask(state)
        await clock.advance(3.0)
        fake = gateway.fake("home")
    assert fake.cancelled == [state.call.id]
    async with assembled(tmp_path, clock) as gateway:
        row = await gateway.row(state.call.id)
        assert (row.outcome, row.cost_nano) == ("cancelled", 3_000_000)


async def test_work_that_outlives_the_gateway_is_settled_by_the_next_start(
    tmp_path: Path, clock: FakeClock
) -> None:
    """Nobody can say how far it came by then: what was held is charged."""
    async with assembled(tmp_path, clock) as gateway:
        gateway.fake("home").tell(Work(outlives=True).reply)
        state = gateway.call_state("any")
        await gateway.ask(state)
        fake = gateway.fake("home")
    assert fake.cancelled == []
    async with assembled(tmp_path, clock) as gateway:
        row = await gateway.row(state.call.id)
        assert (row.outcome, row.cost_nano) == ("interrupted", row.hold_nano)
        assert row.cost_nano > 0


async def test_a_promise_keeps_its_status_and_its_line_in_the_log_comes_at_its_end(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock) as gateway, gateway.client() as client:
        log = LoggedCalls(gateway)
        work = Work()
        gateway.fake("home").tell(work.reply)
        answer = await client.post("/v1/infer/any", json={})
        assert (answer.status_code, answer.content) == (202, PROMISE)
        assert "x-spillgate-cost" not in answer.headers
        assert gateway.inner.access_log.waiting == 0
        work.end.set_result(USED)
        await settled(gateway, answer.headers["x-request-id"])
        await until(lambda: gateway.inner.access_log.waiting == 1, "the line is there")
        [line] = log.lines()
        assert (line["status"], line["cost_nano"]) == (202, 4_000_000)
