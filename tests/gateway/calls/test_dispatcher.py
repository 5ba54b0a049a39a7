"""A call's way: admitted once, walked backend by backend, settled exactly once."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from adapters.errors import BackendError, FailureClass
from adapters.types import Reply, Usage
from gateway.active_policy import Preferences
from gateway.clock import FakeClock, settle
from gateway.storage.base import Claim
from gateway.types import ApiError
from tests.gateway.assembled import POLICY, House, build, house

REFUSED = BackendError(FailureClass.UNREACHABLE, "connection refused")


async def held(home: House) -> tuple[int, int]:
    """(calls in flight, nano-dollars spent or held) of alice's plan, as the shared store says."""
    claims = (
        Claim("user:alice", "concurrent", "", 100, 1),
        Claim("user:alice", "nano_usd", "month", 5_000_000_000, 0),
    )
    calls, money = await home.service.shared.standings(claims)
    return 100 - calls.remaining, 5_000_000_000 - money.remaining


async def test_a_call_is_answered_by_the_free_baseline_and_settled(
    tmp_path: Path, clock: FakeClock
) -> None:
    """One row, the share of the machine that it used, nothing held afterwards."""
    async with house(tmp_path, clock) as home:
        usage = Usage(exec_s=2.0, gpu_s=0.5, input_tokens=3, output_tokens=4, reported=True)
        home.fake("home").tell(Reply(body=b"hello", usage=usage))
        exchange = home.exchange()
        answer = await home.ask(exchange)
        row = await home.row(exchange.call.id)
        assert isinstance(answer, Reply)
        assert answer.body == b"hello"
        assert (row.outcome, row.backend, row.reason) == ("success", "home", "RES_FREE")
        assert (row.cost_nano, row.gpu_us, row.input_tokens) == (500_000, 500_000, 3)
        assert exchange.cost_nano == 500_000
        assert await held(home) == (0, 500_000)


async def test_a_paid_backend_is_asked_only_after_its_row_is_durable(
    tmp_path: Path, clock: FakeClock
) -> None:
    """While the platform works, the ledger knows the call as open, with what is held."""
    async with house(tmp_path, clock) as home:
        home.fake("burst").runs_for = 3.0
        exchange, task = home.start("far")
        await home.until_asked("burst")
        assert exchange.opened
        assert (await home.service.ledger.rows(exchange.call.id))[0].outcome == "open"
        assert (await held(home))[0] == 1
        await clock.advance(3.0)
        await task
        row = await home.row(exchange.call.id)
        assert (row.outcome, row.cost_nano, row.price) == ("success", 3_000_000, "flex")
        assert await held(home) == (0, 3_000_000)


async def test_a_backend_that_was_never_reached_is_followed_by_the_next(
    tmp_path: Path, clock: FakeClock
) -> None:
    """The caller sees one answer, the row says which backend gave it and why."""
    async with house(tmp_path, clock) as home:
        home.fake("home").tell(REFUSED)
        exchange = home.exchange()
        await home.ask(exchange)
        row = await home.row(exchange.call.id)
        assert (row.backend, row.reason, row.outcome) == ("burst", "FAILOVER", "success")
        assert [len(home.fake(name).calls) for name in ("home", "burst")] == [1, 1]


@pytest.mark.parametrize(
    "failure", [f for f in FailureClass if not f.try_next], ids=lambda f: f.slug
)
async def test_a_call_that_may_have_run_is_never_run_twice(
    failure: FailureClass, tmp_path: Path, clock: FakeClock
) -> None:
    """The next backend is not asked, and the error says so in its class."""
    async with house(tmp_path, clock) as home:
        home.fake("home").tell(BackendError(failure, "it failed"))
        exchange = home.exchange()
        with pytest.raises(ApiError) as caught:
            await home.ask(exchange)
        assert caught.value.status == failure.status
        assert home.fake("burst").calls == []
        row = await home.row(exchange.call.id)
        assert (row.outcome, row.error) == ("error", failure.slug)
        assert (await held(home))[0] == 0
        assert home.fake("home").cancelled == ([exchange.call.id] if failure.maybe_running else [])


async def test_an_attempt_that_was_charged_has_a_row_of_its_own(
    tmp_path: Path, clock: FakeClock
) -> None:
    """What the dead worker used is on the bill, beside the call that another one answered."""
    async with house(tmp_path, clock) as home:
        used = Usage(exec_s=4.0, gpu_s=4.0, reported=True)
        home.fake("home").tell(BackendError(FailureClass.WORKER_DIED, "gone", usage=used))
        home.fake("burst").tell(Reply(usage=Usage(exec_s=1.0, reported=True)))
        exchange = home.exchange()
        await home.ask(exchange)
        rows = {row.id: row for row in await home.rows(exchange.call.id)}
        first = rows[f"{exchange.call.id}#1"]
        assert (first.kind, first.backend, first.cost_nano) == ("attempt", "home", 4_000_000)
        assert rows[exchange.call.id].cost_nano == 1_000_000
        assert exchange.cost_nano == await home.spent() == 5_000_000
        assert (await held(home)) == (0, 5_000_000)


async def test_the_last_attempt_is_charged_once(tmp_path: Path, clock: FakeClock) -> None:
    """Where no backend is left to try, the attempt is the call's own row."""
    async with house(tmp_path, clock) as home:
        used = Usage(exec_s=4.0, gpu_s=4.0, reported=True)
        for name in ("home", "burst"):
            home.fake(name).tell(BackendError(FailureClass.WORKER_DIED, "gone", usage=used))
        exchange = home.exchange()
        with pytest.raises(ApiError):
            await home.ask(exchange)
        rows = await home.rows(exchange.call.id)
        assert [(row.kind, row.backend, row.cost_nano) for row in rows] == [
            ("call", "burst", 4_000_000),
            ("attempt", "home", 4_000_000),
        ]
        assert exchange.cost_nano == await home.spent() == 8_000_000
        assert await held(home) == (0, 8_000_000)


async def test_when_every_backend_fails_the_caller_learns_which_were_tried(
    tmp_path: Path, clock: FakeClock
) -> None:
    """One clear error, nothing charged."""
    async with house(tmp_path, clock) as home:
        home.fake("home").tell(REFUSED)
        home.fake("burst").tell(BackendError(FailureClass.OVERLOADED, "full", retry_after=7.0))
        exchange = home.exchange()
        with pytest.raises(ApiError) as caught:
            await home.ask(exchange)
        assert caught.value.status == 503
        assert "home: unreachable, burst: overloaded" in caught.value.message
        assert caught.value.headers["Retry-After"] == "7"
        assert await held(home) == (0, 0)


async def test_a_caller_who_hangs_up_stops_the_remote_work_and_pays_for_what_it_used(
    tmp_path: Path, clock: FakeClock
) -> None:
    """The platform is told to stop; two seconds are charged, and the hold is given back."""
    async with house(tmp_path, clock) as home:
        home.fake("burst").runs_for = 50.0
        exchange, task = home.start("far")
        await home.until_asked("burst")
        await clock.advance(0.6)
        exchange.stop("disconnected")
        with pytest.raises(asyncio.CancelledError):
            await task
        row = await home.row(exchange.call.id)
        assert home.fake("burst").cancelled == [exchange.call.id]
        assert (row.outcome, row.status, row.cost_nano) == ("disconnected", 499, 600_000)
        assert await held(home) == (0, 600_000)
        assert home.service.current.backends["burst"].in_flight == 0


async def test_a_second_cancellation_does_not_lose_the_settlement(
    tmp_path: Path, clock: FakeClock
) -> None:
    """The server may end while a hung-up call is being settled."""
    async with house(tmp_path, clock) as home:
        home.fake("burst").runs_for = 50.0
        exchange, task = home.start("far")
        await home.until_asked("burst")
        exchange.stop("disconnected")
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await home.service.dispatcher.drain()
        assert (await home.row(exchange.call.id)).outcome == "disconnected"
        assert (await held(home))[0] == 0


async def test_a_budget_admits_only_what_it_can_hold_and_never_passes_its_cap(
    tmp_path: Path, clock: FakeClock
) -> None:
    """Two hundred calls at once on one cent: what is settled stays below it, the rest get 402."""
    text = POLICY.replace("spend: 5 USD/month", "spend: 0.01 USD/month").replace(
        "bills: [start, run]", "bills: [run]"
    )
    async with house(tmp_path, clock, text) as home:
        home.fake("burst").runs_for = 1.0
        tasks = [home.start("far")[1] for _ in range(200)]
        await home.until_done(tasks, step=0.5)
        refused = [task.exception() for task in tasks if task.exception() is not None]
        assert all(isinstance(e, ApiError) and e.status == 402 for e in refused)
        assert 0 < len(refused) < 200
        assert 0 < await home.spent() <= 10_000_000
        claim = Claim("user:alice", "nano_usd", "month", 10_000_000, 0)
        [standing] = await home.service.shared.standings([claim])
        assert standing.remaining == 10_000_000 - await home.spent()


async def test_a_dear_backend_is_struck_off_while_a_cheap_one_still_fits(
    tmp_path: Path, clock: FakeClock
) -> None:
    """The hold is the dearest quote that is still allowed."""
    text = POLICY.replace("spend: 5 USD/month", "spend: 0.004 USD/month").replace(
        "per_hour: 3.6", "per_hour: 0.36"
    )
    async with house(tmp_path, clock, text) as home:
        exchange = home.exchange()
        await home.ask(exchange)
        assert exchange.backend == "home"
        assert exchange.hold_nano == 300_000
        home.fake("home").tell(REFUSED)
        lost = home.exchange()
        with pytest.raises(ApiError):
            await home.ask(lost)
        assert home.fake("burst").calls == []


async def test_a_call_that_runs_longer_than_held_for_is_held_for_again(
    tmp_path: Path, clock: FakeClock
) -> None:
    """Its hold grows ahead of it while the budget has room."""
    async with house(tmp_path, clock) as home:
        home.fake("burst").runs_for = 30.0
        exchange, task = home.start("far")
        await home.until_asked("burst")
        first = exchange.hold_nano
        await clock.advance(20.0)
        assert exchange.hold_nano >= 20_000_000 > first
        await clock.advance(10.0)
        await task
        assert await home.spent() == 30_000_000


async def test_a_call_is_stopped_when_its_budget_is_used_up(
    tmp_path: Path, clock: FakeClock
) -> None:
    """It ends at its hold, with a clear error, and what is settled does not pass the cap."""
    text = POLICY.replace("spend: 5 USD/month", "spend: 0.02 USD/month")
    async with house(tmp_path, clock, text) as home:
        home.fake("burst").runs_for = 90.0
        exchange, task = home.start("far")
        await home.until_asked("burst")
        await clock.advance(60.0)
        with pytest.raises(ApiError) as caught:
            await task
        assert (caught.value.status, caught.value.code) == (402, "budget_exhausted")
        assert home.fake("burst").cancelled == [exchange.call.id]
        assert 0 < await home.spent() <= 20_000_000


async def test_calls_queue_for_a_bounded_backend_first_come_first_served(
    tmp_path: Path, clock: FakeClock
) -> None:
    """Never more than the policy allows at once; a queued caller who leaves frees its place."""
    text = POLICY.replace("  home: {kind: fake, slots: 2,", "  home: {kind: fake, concurrency: 1,")
    async with house(tmp_path, clock, text) as home:
        home.fake("home").runs_for = 1.0
        started = [home.start("any") for _ in range(3)]
        await settle()
        started[1][0].stop("disconnected")
        await home.until_asked("home")
        await home.until_done((task for _, task in started), step=0.5)
        assert home.fake("home").most_running == 1
        assert [task.cancelled() for _, task in started] == [False, True, False]
        assert home.service.current.backends["home"].in_flight == 0


async def test_a_price_ceiling_of_the_caller_is_kept(tmp_path: Path, clock: FakeClock) -> None:
    """No backend below it: a clear refusal, before anything is held."""
    async with house(tmp_path, clock) as home:
        with pytest.raises(ApiError) as caught:
            await home.ask(home.exchange("far"), Preferences(None, 1, 0))
        assert (caught.value.status, caught.value.code) == (400, "over_max_price")
        assert await held(home) == (0, 0)


async def test_a_restart_settles_what_a_dead_process_left_open(
    tmp_path: Path, clock: FakeClock
) -> None:
    """At the amount held, once, and the counters know it: a crash forgives no budget."""
    dead = build(tmp_path, clock)
    exchange = House(dead, clock).exchange("far")
    decision = dead.dispatcher.decide(
        dead.current, exchange.call, exchange.arrival, Preferences(None, None, 0)
    )
    exchange.decision, exchange.hold_nano = decision, 123_000
    exchange.claims = (Claim("user:alice", "nano_usd", "month", 5_000_000_000, 123_000),)
    exchange.standing = dead.current.backends["burst"]
    await dead.ledger.open(exchange.open_row())
    await dead.ledger.aclose()
    dead.keys.close()
    async with house(tmp_path, clock) as home:
        row = await home.row(exchange.call.id)
        assert (row.outcome, row.cost_nano, row.cost_basis) == (
            "interrupted",
            123_000,
            "estimated",
        )
        assert await held(home) == (0, 123_000)
        assert await home.service.ledger.open_rows() == []
