"""What is rented, for how long, and what is charged whatever the hooks come to."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from gateway.clock import FakeClock
from gateway.money.idle_books import IdleBooks
from gateway.reserve.leases import OTHERS_AFTER_S
from gateway.reserve.rented import stored
from gateway.reserve.writing import LEASE_S
from gateway.storage.base import StorageUnavailable
from gateway.storage.memory import MemorySharedStore
from gateway.storage.queries import UsageQuery
from gateway.storage.rented.base import StoredInstance
from gateway.storage.rented.memory import MemoryInstances
from gateway.storage.sqlite.ledger import SqliteLedger
from tests.gateway.assembled import PATIENCE_S
from tests.gateway.reserve.stage import DONE, REFUSED, RENTS, UNKNOWN, Stage

HOUR = 3600.0
RATE = 3_600_000_000
"""Nano-dollars an hour, by the price of the backend."""


async def rented(clock: FakeClock) -> Stage:
    """One instance, up since now."""
    stage = Stage(clock)
    await stage.keeper.recall()
    stage.advised = 1
    await stage.passes(120.0)
    assert stage.states() == ["up"]
    return stage


async def test_an_instance_is_started_once_it_was_wanted_for_long_enough(
    clock: FakeClock,
) -> None:
    stage = Stage(clock)
    await stage.keeper.recall()
    stage.advised = 1
    await stage.passes(60.0)
    assert not stage.hooks.asked
    await stage.passes(30.0)
    assert stage.hooks.asked == [("start", "i0", "https://hooks.test/start")]
    assert stage.hooks.tokens == {"secret"}
    stage.advised = 9
    await stage.passes(600.0)
    assert stage.states() == ["up", "up"], "no more than the most"


async def test_a_need_that_passes_rents_nothing(clock: FakeClock) -> None:
    stage = Stage(clock)
    await stage.keeper.recall()
    for _ in range(10):
        stage.advised = 1 - stage.advised
        await stage.passes(30.0)
    assert not stage.hooks.asked


async def test_a_rented_hour_is_used_to_its_end(clock: FakeClock) -> None:
    """Though nobody needs it; and paid for to its end, not beyond."""
    stage = await rented(clock)
    stage.advised = 0
    await stage.passes(HOUR - 300.0)
    assert stage.hooks.actions == ["start"]
    await stage.passes(180.0)
    assert stage.hooks.asked[-1] == ("stop", "i0", "/opt/stop")
    [one] = stage.written()
    assert (one.state, one.ended) == ("ended", one.began + 3600)


async def test_what_is_wanted_again_before_its_hour_ends_stays(clock: FakeClock) -> None:
    stage = await rented(clock)
    stage.advised = 0
    await stage.passes(HOUR / 2)
    stage.advised = 1
    await stage.passes(HOUR)
    assert stage.states() == ["up"]


async def test_a_start_that_is_refused_costs_nothing_and_is_tried_later_and_later(
    clock: FakeClock,
) -> None:
    """And after five in a row not for an hour."""
    stage = Stage(clock)
    await stage.keeper.recall()
    stage.advised = 1
    stage.hooks.outcomes = [REFUSED] * 7
    await stage.passes(HOUR)
    assert stage.hooks.actions == ["start"] * 5
    assert not stage.written()
    await stage.passes(HOUR)
    assert stage.hooks.actions[5:] == ["start", "start", "start"], "two more, and one that is done"
    assert len({name for _, name, _ in stage.hooks.asked}) == 8, "each is another instance"
    assert stage.states() == ["up"]


async def test_a_start_of_which_nobody_knows_is_stopped_and_charged(clock: FakeClock) -> None:
    """It may run, or come to run yet: it is stopped at once, and again when that is over."""
    stage = Stage(clock)
    await stage.keeper.recall()
    stage.advised = 1
    stage.hooks.outcomes = [UNKNOWN, DONE]
    await stage.passes(120.0, step=10.0)
    assert stage.hooks.asked[:2] == [
        ("start", "i0", "https://hooks.test/start"),
        ("stop", "i0", "/opt/stop"),
    ]
    assert stage.written()[0].state == "stopping"
    await stage.passes(300.0)
    first = stage.written()[0]
    assert (first.state, first.ended) == ("ended", first.began + 3600)
    assert [asked for asked in stage.hooks.asked if asked[0] == "stop"] == [
        ("stop", "i0", "/opt/stop")
    ] * 2


async def test_what_could_not_be_stopped_is_charged_until_it_is(clock: FakeClock) -> None:
    """And is asked to stop again and again, no sooner than is bearable."""
    stage = await rented(clock)
    stage.advised = 0
    stage.hooks.outcomes = [REFUSED, UNKNOWN, *[REFUSED] * 3]
    await stage.passes(2 * HOUR)
    [one] = stage.written()
    assert (one.state, one.ended) == ("ended", one.began + 2 * 3600)
    assert stage.hooks.actions == ["start", *["stop"] * 6]


async def test_after_a_crash_what_was_started_is_known_and_stopped(clock: FakeClock) -> None:
    """At its hour's end; one that was being started at once, for nobody knows whether it runs."""
    stage = await rented(clock)
    await clock.advance(LEASE_S)
    again = Stage(clock, store=stage.store, first=5)
    await again.keeper.recall()
    await again.passes(HOUR)
    assert again.hooks.actions == ["stop"]
    assert again.states() == ["ended"]


async def test_one_whose_start_a_crash_has_cut_is_stopped_at_once(clock: FakeClock) -> None:
    stage = await rented(clock)
    [one] = stage.written()
    store = MemoryInstances(clock.time)
    await store.put("dead", stored(msgspec.structs.replace(one, state="starting")), 0.0)
    again = Stage(clock, store=store, first=5)
    await again.keeper.recall()
    await again.passes(30.0)
    assert again.hooks.actions == ["stop"]


async def test_what_a_gateway_leaves_behind_that_never_returns_another_one_takes_over(
    clock: FakeClock,
) -> None:
    """When its lease is over, and not before; it is stopped as its hour ends, and booked once."""
    stage = await rented(clock)
    other = Stage(clock, store=stage.store, shared=stage.shared, first=5)
    await other.keeper.recall()
    assert other.keeper.commitments() == {}
    other.advised = 1
    await other.passes(LEASE_S + 30.0, step=10.0)
    assert other.keeper.commitments() == {one.booked_as: one.commitment for one in stage.written()}
    await other.passes(HOUR)
    assert other.hooks.actions == [], "it is wanted, and no other is started beside it"
    other.advised = 0
    await other.passes(HOUR)
    assert (other.hooks.actions, other.states()) == (["stop"], ["ended"])


async def test_who_comes_back_after_its_lease_leaves_them_to_who_has_them(
    clock: FakeClock,
) -> None:
    stage = await rented(clock)
    other = Stage(clock, store=stage.store, shared=stage.shared, first=5)
    other.advised = 1
    await other.passes(LEASE_S + 30.0)
    assert other.keeper.commitments()
    await stage.passes(30.0)
    assert stage.keeper.commitments() == {}
    await stage.keeper.aclose()
    assert stage.hooks.actions == ["start"], "it stops nothing of others"


async def test_one_that_cannot_start_such_takes_over_late_and_stops_it(clock: FakeClock) -> None:
    """A gateway whose policy has the reserve knows the hook's token, so it comes first."""
    stage = await rented(clock)
    text = RENTS[: RENTS.index("reserve:\n")]
    other = Stage(clock, text, store=stage.store, shared=stage.shared)
    await other.passes(OTHERS_AFTER_S)
    assert not other.hooks.asked
    await other.passes(LEASE_S + 30.0)
    assert other.hooks.asked == [("stop", "i0", "/opt/stop")]


async def test_two_gateways_take_over_each_instance_once(clock: FakeClock) -> None:
    stage = await rented(clock)
    others = [Stage(clock, store=stage.store, shared=stage.shared) for _ in range(2)]
    await clock.advance(LEASE_S)
    for other in others:
        await other.keeper.recall()
    assert [len(other.keeper.commitments() or {}) for other in others] == [1, 0]


async def test_nothing_is_called_while_the_plan_only_observes(clock: FakeClock) -> None:
    stage = Stage(clock, RENTS.replace("plan: act", "plan: observe"))
    await stage.keeper.recall()
    stage.advised = 3
    await stage.passes(HOUR)
    assert not stage.hooks.asked
    look = stage.keeper.last["pods"]
    assert (look.advised, look.wanted, look.there, look.acts) == (3, 2, 0, False)


async def test_who_does_not_lead_starts_none_and_ends_its_own(clock: FakeClock) -> None:
    stage = await rented(clock)
    stage.leads = False
    await stage.passes(HOUR)
    assert stage.states() == ["ended"]
    assert stage.hooks.actions == ["start", "stop"]


async def test_gateways_rent_no_more_than_the_most_together(clock: FakeClock) -> None:
    """What one has started counts for the other, which has begun to lead."""
    shared = MemorySharedStore(clock)
    one, other = Stage(clock, shared=shared), Stage(clock, shared=shared, first=10)
    await one.keeper.recall()
    await other.keeper.recall()
    one.advised = other.advised = 2
    await one.passes(300.0)
    await other.passes(600.0)
    assert (one.states(), other.states()) == (["up", "up"], [])


async def test_a_reserve_that_leaves_the_policy_leaves_nothing_running(clock: FakeClock) -> None:
    stage = await rented(clock)
    stage.put_in_force(RENTS[: RENTS.index("reserve:\n")])
    await stage.passes(30.0)
    assert stage.hooks.asked[-1] == ("stop", "i0", "/opt/stop")
    assert stage.states() == ["ended"]


async def test_the_end_of_the_gateway_stops_what_runs(clock: FakeClock) -> None:
    """What is not known to be stopped is written down, for the next start."""
    stage = await rented(clock)
    stage.hooks.outcomes = [UNKNOWN]
    await stage.keeper.aclose()
    assert stage.states() == ["stopping"]
    again = Stage(clock, store=stage.store, first=5)
    await again.keeper.recall()
    await again.passes(30.0)
    assert again.states() == ["ended"]


async def test_nothing_is_started_that_cannot_be_written_down(clock: FakeClock) -> None:
    class Full(MemoryInstances):
        async def put(self, holder: str, one: StoredInstance, lease_s: float) -> bool:
            raise StorageUnavailable("no space left")

    stage = Stage(clock, store=Full(clock.time))
    await stage.keeper.recall()
    stage.advised = 1
    await stage.passes(300.0)
    assert not stage.hooks.asked


async def test_nothing_is_started_while_nobody_knows_what_runs(clock: FakeClock) -> None:
    class Unreadable(MemoryInstances):
        async def renew(self, holder: str, lease_s: float) -> set[str]:
            raise StorageUnavailable("it cannot be read")

    stage = Stage(clock, store=Unreadable(clock.time))
    await stage.keeper.recall()
    stage.advised = 1
    await stage.passes(300.0)
    assert not stage.hooks.asked


@pytest.mark.parametrize("failed_stops", [0, 5], ids=["stopped", "stopped late"])
async def test_its_hours_are_booked_once_and_make_its_bill(
    tmp_path: Path, clock: FakeClock, failed_stops: int
) -> None:
    """To the nano-dollar, over a death and however often it is booked."""
    stage = await rented(clock)
    stage.advised = 0
    stage.hooks.outcomes = [REFUSED] * failed_stops
    ledger = SqliteLedger(tmp_path / "ledger.db", clock=clock, write_timeout_s=PATIENCE_S)
    for _ in range(4):
        await stage.passes(HOUR, step=60.0)
        await clock.advance(LEASE_S)
        stage = Stage(clock, store=stage.store, first=9)
        await stage.keeper.recall()
        books = IdleBooks(
            policy=lambda stage=stage: stage.active.policy,  # type: ignore[misc]
            ledger=ledger,
            clock=clock,
            rented=stage.keeper.commitments,
        )
        await books.book()
        await books.book()
    [one] = stage.written()
    assert one.ended is not None
    rows = (await ledger.usage(UsageQuery(group_by=("kind",)))).rows
    hours = (one.ended - one.began) // 3600
    assert hours == 1 + (failed_stops > 0)
    assert [(row.group["kind"], row.cost_nano) for row in rows] == [("idle", hours * RATE)]
    await ledger.aclose()
