"""A call's way: admitted once, walked backend by backend, settled exactly once."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from adapters.errors import BackendError, FailureClass, Fault, Ran
from adapters.types import Reply, Usage
from gateway.calls.admission import Admission
from gateway.calls.rows import open_row
from gateway.clock import FakeClock, settle
from gateway.preferences import Preferences
from gateway.storage.base import Claim
from gateway.types import ApiError
from tests.gateway.assembled import (
    ALICE,
    NO_OUTPUT,
    POLICY,
    AssembledGateway,
    assembled,
    build,
)

REFUSED = BackendError(FailureClass.UNREACHABLE, "connection refused")


async def held(gateway: AssembledGateway) -> tuple[int, int]:
    """(calls in flight, nano-dollars spent or held) of alice's plan, as the shared store says."""
    claims = (
        Claim("user:alice", "concurrent", "", 100, 1),
        Claim("user:alice", "nano_usd", "month", 5_000_000_000, 0),
    )
    calls, money = await gateway.inner.shared.statuses(claims)
    return 100 - calls.remaining, 5_000_000_000 - money.remaining


async def test_a_call_is_answered_by_the_free_baseline_and_settled(
    tmp_path: Path, clock: FakeClock
) -> None:
    """One row, the share of the machine that it used, nothing held afterwards."""
    async with assembled(tmp_path, clock) as gateway:
        usage = Usage(exec_s=2.0, gpu_s=0.5, input_tokens=3, output_tokens=4, reported=True)
        gateway.fake("home").tell(Reply(body=b"hello", usage=usage))
        state = gateway.call_state()
        answer = await gateway.ask(state)
        row = await gateway.row(state.call.id)
        assert isinstance(answer, Reply)
        assert answer.body == b"hello"
        assert (row.outcome, row.backend, row.reason) == ("success", "home", "RES_FREE")
        assert (row.cost_nano, row.gpu_us, row.input_tokens) == (500_000, 500_000, 3)
        assert state.cost_nano == 500_000
        assert await held(gateway) == (0, 500_000)


async def test_a_paid_backend_is_asked_only_after_its_row_is_durable(
    tmp_path: Path, clock: FakeClock
) -> None:
    """While the platform works, the ledger knows the call as open, with what is held."""
    async with assembled(tmp_path, clock) as gateway:
        gateway.fake("burst").runs_for = 3.0
        state, task = gateway.start("far")
        await gateway.until_asked("burst")
        assert state.opened
        assert (await gateway.inner.ledger.rows(state.call.id))[0].outcome == "open"
        assert (await held(gateway))[0] == 1
        await clock.advance(3.0)
        await task
        row = await gateway.row(state.call.id)
        assert (row.outcome, row.cost_nano, row.price) == ("success", 3_000_000, "flex")
        assert await held(gateway) == (0, 3_000_000)


async def test_a_backend_that_was_never_reached_is_followed_by_the_next(
    tmp_path: Path, clock: FakeClock
) -> None:
    """The caller sees one answer, the row says which backend gave it and why."""
    async with assembled(tmp_path, clock) as gateway:
        gateway.fake("home").tell(REFUSED)
        state = gateway.call_state()
        await gateway.ask(state)
        row = await gateway.row(state.call.id)
        assert (row.backend, row.reason, row.outcome) == ("burst", "FAILOVER", "success")
        assert [len(gateway.fake(name).calls) for name in ("home", "burst")] == [1, 1]


@pytest.mark.parametrize(
    "failure",
    [f for f in FailureClass if f.ran is not Ran.NO or f.fault is Fault.REQUEST],
    ids=lambda f: f.slug,
)
async def test_a_native_call_that_may_have_run_is_never_run_twice(
    failure: FailureClass, tmp_path: Path, clock: FakeClock
) -> None:
    """What it does when it runs twice, nobody here knows: the next backend is not asked."""
    async with assembled(tmp_path, clock) as gateway:
        gateway.fake("home").tell(BackendError(failure, "it failed"))
        state = gateway.call_state("any")
        with pytest.raises(ApiError) as caught:
            await gateway.ask(state)
        assert caught.value.status == failure.status
        assert gateway.fake("burst").calls == []
        row = await gateway.row(state.call.id)
        assert (row.outcome, row.error) == ("error", failure.slug)
        assert (await held(gateway))[0] == 0
        assert gateway.fake("home").cancelled == ([state.call.id] if failure.maybe_running else [])


async def test_an_attempt_that_was_charged_has_a_row_of_its_own(
    tmp_path: Path, clock: FakeClock
) -> None:
    """What the dead worker used is on the bill, beside the call that another one answered."""
    async with assembled(tmp_path, clock) as gateway:
        used = Usage(exec_s=4.0, gpu_s=4.0, reported=True)
        gateway.fake("home").tell(BackendError(FailureClass.WORKER_DIED, "gone", usage=used))
        gateway.fake("burst").tell(Reply(usage=Usage(exec_s=1.0, reported=True)))
        state = gateway.call_state()
        await gateway.ask(state)
        rows = {row.id: row for row in await gateway.rows(state.call.id)}
        first = rows[f"{state.call.id}#1"]
        assert (first.kind, first.backend, first.cost_nano) == ("attempt", "home", 4_000_000)
        assert rows[state.call.id].cost_nano == 1_000_000
        assert state.cost_nano == await gateway.spent() == 5_000_000
        assert (await held(gateway)) == (0, 5_000_000)


async def test_the_last_attempt_is_charged_once(tmp_path: Path, clock: FakeClock) -> None:
    """Where no backend is left to try, the attempt is the call's own row."""
    async with assembled(tmp_path, clock) as gateway:
        used = Usage(exec_s=4.0, gpu_s=4.0, reported=True)
        for name in ("home", "burst"):
            gateway.fake(name).tell(BackendError(FailureClass.WORKER_DIED, "gone", usage=used))
        state = gateway.call_state()
        with pytest.raises(ApiError):
            await gateway.ask(state)
        rows = await gateway.rows(state.call.id)
        assert [(row.kind, row.backend, row.cost_nano) for row in rows] == [
            ("call", "burst", 4_000_000),
            ("attempt", "home", 4_000_000),
        ]
        assert state.cost_nano == await gateway.spent() == 8_000_000
        assert await held(gateway) == (0, 8_000_000)


async def test_when_every_backend_fails_the_caller_learns_which_were_tried(
    tmp_path: Path, clock: FakeClock
) -> None:
    """One clear error, nothing charged."""
    async with assembled(tmp_path, clock) as gateway:
        gateway.fake("home").tell(REFUSED)
        gateway.fake("burst").tell(BackendError(FailureClass.OVERLOADED, "full", retry_after=7.0))
        state = gateway.call_state()
        with pytest.raises(ApiError) as caught:
            await gateway.ask(state)
        assert caught.value.status == 503
        assert "home: unreachable, burst: overloaded" in caught.value.message
        assert caught.value.headers["Retry-After"] == "7"
        assert await held(gateway) == (0, 0)


async def test_a_caller_who_hangs_up_stops_the_remote_work_and_pays_for_what_it_used(
    tmp_path: Path, clock: FakeClock
) -> None:
    """The platform is told to stop; two seconds are charged, and the hold is given back."""
    async with assembled(tmp_path, clock) as gateway:
        gateway.fake("burst").runs_for = 50.0
        state, task = gateway.start("far")
        await gateway.until_asked("burst")
        await clock.advance(0.6)
        state.stop("disconnected")
        with pytest.raises(asyncio.CancelledError):
            await task
        row = await gateway.row(state.call.id)
        assert gateway.fake("burst").cancelled == [state.call.id]
        assert (row.outcome, row.status, row.cost_nano) == ("disconnected", 499, 600_000)
        assert await held(gateway) == (0, 600_000)
        assert gateway.inner.active.backends["burst"].in_flight == 0


async def test_a_second_cancellation_does_not_lose_the_settlement(
    tmp_path: Path, clock: FakeClock
) -> None:
    """The server may end while a hung-up call is being settled."""
    async with assembled(tmp_path, clock) as gateway:
        gateway.fake("burst").runs_for = 50.0
        state, task = gateway.start("far")
        await gateway.until_asked("burst")
        state.stop("disconnected")
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await gateway.inner.dispatcher.background.drain()
        assert (await gateway.row(state.call.id)).outcome == "disconnected"
        assert (await held(gateway))[0] == 0


async def test_a_budget_admits_only_what_it_can_hold_and_never_passes_its_cap(
    tmp_path: Path, clock: FakeClock
) -> None:
    """Two hundred calls at once on one cent: what is settled stays below it, the rest get 402."""
    text = POLICY.replace("spend: 5 USD/month", "spend: 0.01 USD/month").replace(
        "bills: [start, run]", "bills: [run]"
    )
    async with assembled(tmp_path, clock, text) as gateway:
        gateway.fake("burst").runs_for = 1.0
        tasks = [gateway.start("far")[1] for _ in range(200)]
        await gateway.until_done(tasks, step=0.5)
        refused = [task.exception() for task in tasks if task.exception() is not None]
        assert all(isinstance(e, ApiError) and e.status == 402 for e in refused)
        assert 0 < len(refused) < 200
        assert 0 < await gateway.spent() <= 10_000_000
        claim = Claim("user:alice", "nano_usd", "month", 10_000_000, 0)
        [status] = await gateway.inner.shared.statuses([claim])
        assert status.remaining == 10_000_000 - await gateway.spent()


async def test_a_dear_backend_is_struck_off_while_a_cheap_one_still_fits(
    tmp_path: Path, clock: FakeClock
) -> None:
    """The hold is the dearest quote that is still allowed."""
    text = POLICY.replace("spend: 5 USD/month", "spend: 0.004 USD/month").replace(
        "per_hour: 3.6", "per_hour: 0.36"
    )
    async with assembled(tmp_path, clock, text) as gateway:
        state = gateway.call_state()
        await gateway.ask(state)
        assert state.backend is gateway.inner.active.backends["home"]
        assert state.admission.hold_nano == 300_000
        gateway.fake("home").tell(REFUSED)
        lost = gateway.call_state()
        with pytest.raises(ApiError):
            await gateway.ask(lost)
        assert gateway.fake("burst").calls == []


async def test_a_call_that_runs_longer_than_held_for_is_held_for_again(
    tmp_path: Path, clock: FakeClock
) -> None:
    """Its hold grows ahead of it while the budget has room."""
    async with assembled(tmp_path, clock) as gateway:
        gateway.fake("burst").runs_for = 30.0
        state, task = gateway.start("far")
        await gateway.until_asked("burst")
        first = state.admission.hold_nano
        await clock.advance(20.0)
        assert state.admission.hold_nano >= 20_000_000 > first
        await clock.advance(10.0)
        await task
        assert await gateway.spent() == 30_000_000


async def test_a_call_is_stopped_when_its_budget_is_used_up(
    tmp_path: Path, clock: FakeClock
) -> None:
    """It ends at its hold, with a clear error, and what is settled does not pass the cap."""
    text = POLICY.replace("spend: 5 USD/month", "spend: 0.02 USD/month")
    async with assembled(tmp_path, clock, text) as gateway:
        gateway.fake("burst").runs_for = 90.0
        state, task = gateway.start("far")
        await gateway.until_asked("burst")
        await clock.advance(60.0)
        with pytest.raises(ApiError) as caught:
            await task
        assert (caught.value.status, caught.value.code) == (402, "budget_exhausted")
        assert gateway.fake("burst").cancelled == [state.call.id]
        assert 0 < await gateway.spent() <= 20_000_000


async def test_calls_queue_for_a_bounded_backend_first_come_first_served(
    tmp_path: Path, clock: FakeClock
) -> None:
    """Never more than the policy allows at once; a queued caller who leaves frees its place."""
    text = POLICY.replace("  home: {kind: fake, slots: 2,", "  home: {kind: fake, concurrency: 1,")
    async with assembled(tmp_path, clock, text) as gateway:
        gateway.fake("home").runs_for = 1.0
        started = [gateway.start("any") for _ in range(3)]
        await settle()
        started[1][0].stop("disconnected")
        await gateway.until_asked("home")
        await gateway.until_done((task for _, task in started), step=0.5)
        assert gateway.fake("home").most_running == 1
        assert [task.cancelled() for _, task in started] == [False, True, False]
        assert gateway.inner.active.backends["home"].in_flight == 0


async def test_a_price_ceiling_of_the_caller_is_kept(tmp_path: Path, clock: FakeClock) -> None:
    """No backend below it: a clear refusal, before anything is held."""
    async with assembled(tmp_path, clock) as gateway:
        with pytest.raises(ApiError) as caught:
            await gateway.ask(gateway.call_state("far", preferences=Preferences(None, 1, 0)))
        assert (caught.value.status, caught.value.code) == (400, "over_max_price")
        assert await held(gateway) == (0, 0)


async def test_a_restart_settles_what_a_dead_process_left_open(
    tmp_path: Path, clock: FakeClock
) -> None:
    """At the amount held, once, and the counters know it: a crash forgives no budget."""
    dead = build(tmp_path, clock)
    state = AssembledGateway(dead, clock).call_state("far")
    state.routed(
        dead.dispatcher.decide(
            dead.active, state.call, ALICE, NO_OUTPUT, received_at=state.received_at
        )
    )
    claims = (Claim("user:alice", "nano_usd", "month", 5_000_000_000, 123_000),)
    state.admission = Admission(None, claims, 123_000)
    state.backend = dead.active.backends["burst"]
    await dead.ledger.open(open_row(state, None))
    await dead.ledger.aclose()
    dead.keys.close()
    async with assembled(tmp_path, clock) as gateway:
        row = await gateway.row(state.call.id)
        assert (row.outcome, row.cost_nano, row.cost_basis) == (
            "interrupted",
            123_000,
            "estimated",
        )
        assert await held(gateway) == (0, 123_000)
        assert await gateway.inner.ledger.open_rows() == []
