"""Calls of others at an engine weigh in what a call is quoted, and in where it goes."""

from __future__ import annotations

import asyncio

import pytest

from adapters.fake import Fake
from adapters.types import Capabilities, Probe, Usage
from gateway.backends.candidates import candidate_of
from gateway.backends.engine_line import FRESH_S, EngineLine
from gateway.backends.live import LiveBackend
from gateway.clock import FakeClock, settle
from gateway.policy.model import Route
from gateway.routing.router import Decision, RoutingRequest, decide
from tests.gateway.assembled import POLICY
from tests.gateway.backends.test_live import live_backend

TWO_SLOTS = POLICY
SAYS_NOTHING = POLICY.replace("slots: 2", "slots: null")
LIMITED = POLICY.replace("slots: 2", "slots: null, max_queue: 3")


def told(running: int, queued: int | None = 0) -> Probe:
    return Probe(ready=True, running=running, queued=queued, counts_all=True)


def decision(backend: LiveBackend, clock: FakeClock) -> Decision:
    question = RoutingRequest("chat", False, 100, 0)
    route = Route(name="all", use=(backend.name,))
    candidate = candidate_of(backend, "chat", clock.monotonic())
    return decide(question, [candidate], route, 10.0, lambda: 0.0)


def delay_s(backend: LiveBackend, clock: FakeClock) -> float:
    [quote] = decision(backend, clock).quotes
    return quote.delay.seconds


@pytest.mark.parametrize(
    ("text", "said", "seconds"),
    [
        (TWO_SLOTS, told(1), 0),
        (TWO_SLOTS, told(2), 0.5),
        (TWO_SLOTS, told(2, 5), 3),
        (SAYS_NOTHING, told(8), 0),
        (SAYS_NOTHING, told(8, 1), 0.25),
        (SAYS_NOTHING, told(8, 17), 2.25),
        (SAYS_NOTHING, told(0, 4), 4),
        (SAYS_NOTHING, Probe(ready=True, running=8, queued=17), 0),
    ],
)
async def test_a_call_is_quoted_the_line_at_the_engine(
    text: str, said: Probe, seconds: float, clock: FakeClock
) -> None:
    """A run is one second, as the policy expects, and the slots share those before it."""
    backend = live_backend(clock, text=text)
    backend.probed(said)
    assert delay_s(backend, clock) == seconds


async def test_our_own_calls_there_are_counted_once(clock: FakeClock) -> None:
    backend = live_backend(clock, text=SAYS_NOTHING)
    leases = [await backend.lease() for _ in range(6)]
    backend.probed(told(4, 2))
    assert delay_s(backend, clock) == 0.75
    for lease in leases:
        backend.end(lease, "chat", Usage(exec_s=1.0), None)
    assert delay_s(backend, clock) == 0


async def test_where_the_line_is_as_long_as_the_policy_allows_no_call_is_sent(
    clock: FakeClock,
) -> None:
    backend = live_backend(clock, text=LIMITED)
    backend.probed(told(8, 2))
    assert decision(backend, clock).refused == ()
    backend.probed(told(8, 3))
    assert decision(backend, clock).refused == (("home", "queue_full"),)


async def test_what_was_said_long_ago_counts_no_more(clock: FakeClock) -> None:
    backend = live_backend(clock, text=LIMITED)
    backend.probed(told(8, 3))
    await clock.advance(FRESH_S)
    assert decision(backend, clock).refused == ()
    assert delay_s(backend, clock) == 0


@pytest.mark.parametrize("last", [Probe(ready=True), Probe(ready=False, detail="away")])
def test_an_engine_that_counts_no_more_has_no_line(last: Probe) -> None:
    line = EngineLine()
    line.hear(told(2, 9), 0, 1.0)
    line.hear(last, 0, 2.0)
    assert (line.told, line.others(2.0), line.computes(2.0)) == (False, 0, None)


async def test_an_engine_that_refuses_what_waits_is_sent_no_more_than_it_has_room_for(
    clock: FakeClock,
) -> None:
    """The others wait in the gateway's own line, where they can still go elsewhere."""
    backend = live_backend(clock, text=POLICY.replace("slots: 2", "slots: 8"))
    assert isinstance(backend.adapter, Fake)
    backend.adapter.capabilities = Capabilities(queues=False)
    backend.probed(told(5))
    waiting = [asyncio.ensure_future(backend.lease()) for _ in range(6)]
    await settle()
    assert sum(one.done() for one in waiting) == 3
    for one in waiting:
        one.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
