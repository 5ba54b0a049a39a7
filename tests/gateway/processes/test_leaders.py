"""One process leads at a time: the lease ends where it is not renewed."""

from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from gateway.clock import FakeClock, settle
from gateway.processes.leaders import LEASE_S, LeaderLease, LeaseHolder
from gateway.processes.messages import AsksToLead, Leads, LeadsNoMore, ToParent


def test_who_asks_first_leads_and_goes_on_for_as_long_as_it_asks() -> None:
    lease = LeaderLease()
    assert lease.ask(1, 0.0) == LEASE_S
    assert lease.ask(2, 1.0) is None
    assert lease.ask(1, LEASE_S - 1) == 2 * LEASE_S - 1
    assert lease.ask(2, LEASE_S + 1) is None


def test_another_leads_when_the_first_has_not_asked_again() -> None:
    lease = LeaderLease()
    lease.ask(1, 0.0)
    assert lease.ask(2, LEASE_S) == 2 * LEASE_S
    assert lease.ask(1, LEASE_S + 1) is None


def test_another_leads_at_once_when_the_first_is_gone() -> None:
    lease = LeaderLease()
    lease.ask(1, 0.0)
    lease.end(2)
    assert lease.ask(2, 1.0) is None
    lease.end(1)
    assert lease.ask(2, 1.0) == 1.0 + LEASE_S


def test_when_all_end_who_leads_does_so_to_its_end_and_nobody_after_it() -> None:
    lease = LeaderLease()
    lease.ask(1, 0.0)
    lease.close()
    assert lease.ask(1, 4.0) == 4.0 + LEASE_S
    lease.end(1)
    assert lease.ask(2, 100.0) is None


@given(st.lists(st.tuples(st.integers(1, 4), st.floats(0, 3), st.booleans()), max_size=60))
def test_no_two_lead_at_once(steps: list[tuple[int, float, bool]]) -> None:
    """Whoever asks when, and whoever is gone: a lease ends before the next begins."""
    lease, now, until = LeaderLease(), 0.0, dict.fromkeys(range(1, 5), 0.0)
    for process, seconds, ends in steps:
        now += seconds
        if ends:
            lease.end(process)
            until[process] = 0.0
        elif (granted := lease.ask(process, now)) is not None:
            until[process] = granted
        assert sum(now < one for one in until.values()) <= 1


async def test_a_holder_leads_until_its_lease_ends_and_again_when_it_is_renewed(
    clock: FakeClock,
) -> None:
    said: list[ToParent] = []
    holder = LeaseHolder("machine", said.append, clock)
    asking = asyncio.create_task(holder.keep_asking())
    gained = asyncio.create_task(holder.gained())
    await settle()
    assert said == [AsksToLead()]
    assert not gained.done()
    holder.hear(Leads(clock.monotonic() + LEASE_S))
    await settle()
    assert gained.done()
    lost = asyncio.create_task(holder.lost())
    await clock.advance(LEASE_S - 1)
    holder.hear(Leads(clock.monotonic() + LEASE_S))
    await clock.advance(LEASE_S - 1)
    assert not lost.done()
    await clock.advance(1.0)
    assert lost.done()
    holder.leave()
    assert {*said} == {AsksToLead()}
    asking.cancel()


async def test_a_holder_that_retires_hands_over_and_asks_no_more(clock: FakeClock) -> None:
    said: list[ToParent] = []
    holder = LeaseHolder("machine", said.append, clock)
    asking = asyncio.create_task(holder.keep_asking())
    await settle()
    holder.hear(Leads(clock.monotonic() + LEASE_S))
    lost = asyncio.create_task(holder.lost())
    await settle()
    holder.retire()
    await settle()
    assert lost.done()
    holder.leave()
    holder.hear(Leads(clock.monotonic() + LEASE_S))
    assert holder.until < clock.monotonic()
    await clock.advance(10.0)
    assert asking.done()
    assert said == [AsksToLead(), LeadsNoMore()]
