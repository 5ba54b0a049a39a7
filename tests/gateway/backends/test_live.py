"""A backend as it stands: places first come, first served, and what is learned from each call."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.errors import BackendError, FailureClass
from adapters.fake import Fake, FakeSettings
from adapters.types import Capabilities, Probe, Usage
from gateway.backends.candidates import candidate_of
from gateway.backends.leases import Lease
from gateway.backends.live import LiveBackend
from gateway.clock import FakeClock, settle
from gateway.policy.model import Policy
from gateway.shared_timer import SharedTimer
from tests.gateway.assembled import POLICY, read

BOUNDED = POLICY.replace("slots: 2", "concurrency: 1")
REFUSED = BackendError(FailureClass.UNREACHABLE, "no")


def live_backend(clock: FakeClock, name: str = "home", text: str = BOUNDED) -> LiveBackend:
    policy: Policy = read(text)
    spec = policy.backends[name]
    fake = Fake(name, cast(FakeSettings, spec.settings), clock)
    return LiveBackend(
        spec, policy.prices[spec.common.price or ""], fake, clock, SharedTimer(clock)
    )


def end(
    backend: LiveBackend,
    lease: Lease,
    usage: Usage | None = None,
    failure: BackendError | None = None,
) -> None:
    backend.end(lease, "chat", usage, failure)


# --- places -----------------------------------------------------------------------------------


async def test_places_are_given_in_the_order_of_asking(clock: FakeClock) -> None:
    backend = live_backend(clock)
    first = await backend.lease()
    order: list[int] = []

    async def wait(number: int) -> None:
        lease = await backend.lease()
        order.append(number)
        await asyncio.sleep(0)
        end(backend, lease)

    waiting = [asyncio.ensure_future(wait(number)) for number in range(5)]
    await settle()
    assert (order, backend.in_flight) == ([], 6)
    end(backend, first)
    await asyncio.gather(*waiting)
    assert (order, backend.in_flight) == ([0, 1, 2, 3, 4], 0)


async def test_whoever_leaves_the_queue_takes_no_place(clock: FakeClock) -> None:
    """The next one moves up."""
    backend = live_backend(clock)
    first = await backend.lease()
    leaving, staying = (asyncio.ensure_future(backend.lease()) for _ in range(2))
    await settle()
    leaving.cancel()
    await settle()
    assert backend.in_flight == 2
    end(backend, first)
    end(backend, await staying)
    assert backend.in_flight == 0


async def test_a_place_that_was_given_to_someone_who_just_left_goes_to_the_next(
    clock: FakeClock,
) -> None:
    """Given and cancelled in the same turn of the loop, so that both are seen at once."""
    backend = live_backend(clock)
    first = await backend.lease()
    leaving, staying = (asyncio.ensure_future(backend.lease()) for _ in range(2))
    await settle()
    end(backend, first)
    leaving.cancel()
    end(backend, await staying)
    assert leaving.cancelled()
    assert backend.in_flight == 0
    end(backend, await backend.lease())


@given(steps=st.lists(st.tuples(st.sampled_from(["ask", "end", "leave"]), st.integers(0, 7))))
def test_never_more_run_than_the_policy_allows_and_no_place_is_lost(
    steps: list[tuple[str, int]],
) -> None:
    """Whatever the order of asking, ending and leaving."""

    async def run() -> None:
        backend = live_backend(FakeClock())
        tasks: list[asyncio.Task[Lease]] = []
        ended: set[int] = set()
        for what, which in steps:
            if what == "ask":
                tasks.append(asyncio.ensure_future(backend.lease()))
            elif tasks:
                number = which % len(tasks)
                await leave_or_end(backend, tasks, ended, number, leaves=what == "leave")
            await settle(3)
            holding = [t for n, t in enumerate(tasks) if running(t) and n not in ended]
            assert len(holding) <= 1
        for number, task in enumerate(tasks):
            task.cancel()
            await settle(3)
            if running(task) and number not in ended:
                end(backend, task.result())
                ended.add(number)
            await settle(3)
        assert backend.in_flight == 0
        async with asyncio.timeout(1):
            end(backend, await backend.lease())

    asyncio.run(run())


async def leave_or_end(
    backend: LiveBackend,
    tasks: list[asyncio.Task[Lease]],
    ended: set[int],
    number: int,
    *,
    leaves: bool,
) -> None:
    if leaves:
        tasks[number].cancel()
    elif running(tasks[number]) and number not in ended:
        end(backend, tasks[number].result())
        ended.add(number)


def running(task: asyncio.Task[Lease]) -> bool:
    return task.done() and not task.cancelled()


# --- what is learned --------------------------------------------------------------------------


async def test_a_call_after_the_idle_time_out_is_expected_to_be_cold(clock: FakeClock) -> None:
    """Warm after its first call, for as long as the platform keeps a worker."""
    backend = live_backend(clock, "burst")
    first = await backend.lease()
    assert first.expected_cold
    end(backend, first, Usage(exec_s=1.0, cold_s=6.0))
    clock.move(59.0)
    second = await backend.lease()
    assert not second.expected_cold
    end(backend, second, Usage(exec_s=1.0))
    clock.move(61.0)
    assert (await backend.lease()).expected_cold


async def test_cold_starts_are_learned_from_those_that_happened(clock: FakeClock) -> None:
    backend = live_backend(clock, "burst")
    before = candidate_of(backend, "chat", clock.monotonic()).cold_p95
    assert before == pytest.approx(9.0)
    for _ in range(50):
        clock.move(1000.0)
        end(backend, await backend.lease(), Usage(exec_s=1.0, cold_s=2.0))
    after = candidate_of(backend, "chat", clock.monotonic()).cold_p95
    assert after is not None
    assert after < 7.0


async def test_a_warm_call_that_had_to_start_a_worker_empties_the_warm_set(
    clock: FakeClock,
) -> None:
    """The platform took its workers down without a word."""
    backend = live_backend(clock, "burst")
    one, two = await backend.lease(), await backend.lease()
    end(backend, one, Usage(exec_s=1.0))
    end(backend, two, Usage(exec_s=1.0))
    assert candidate_of(backend, "chat", clock.monotonic()).load.warm_idle == 2
    third = await backend.lease()
    end(backend, third, Usage(exec_s=1.0, cold_s=7.0))
    assert candidate_of(backend, "chat", clock.monotonic()).load.warm_idle == 1, (
        "its own worker alone"
    )


async def test_a_backend_that_cannot_be_reached_has_no_warm_workers(clock: FakeClock) -> None:
    backend = live_backend(clock, "burst")
    end(backend, await backend.lease(), Usage(exec_s=1.0))
    end(backend, await backend.lease(), failure=REFUSED)
    assert not backend.is_warm


async def test_the_platforms_word_on_its_workers_beats_ours(clock: FakeClock) -> None:
    backend = live_backend(clock, "burst")
    end(backend, await backend.lease(), Usage(exec_s=1.0))
    backend.probed(Probe(ready=False, warm_workers=0, detail="scaled to zero"))
    assert not backend.is_warm
    assert backend.standing.detail == "scaled to zero"
    backend.probed(Probe(ready=True, warm_workers=1))
    assert backend.is_warm


async def test_run_times_are_learned_for_each_model(clock: FakeClock) -> None:
    backend = live_backend(clock, text=POLICY)
    for _ in range(50):
        end(backend, await backend.lease(), Usage(exec_s=4.0))
    assert backend.learned.run_time("chat").mean == pytest.approx(4.0, rel=0.1)
    assert backend.learned.run_time("any").mean == pytest.approx(1.0)


async def test_a_call_that_was_broken_off_teaches_nothing(clock: FakeClock) -> None:
    """Its time says when its caller left, not how long the model runs."""
    backend = live_backend(clock, text=POLICY)
    before = backend.learned.run_time("chat")
    lease = await backend.lease()
    clock.move(500.0)
    end(backend, lease)
    assert backend.learned.run_time("chat") == before
    assert backend.standing.blocked(clock.monotonic()) == ""


async def test_failures_cool_it_down_and_a_success_ends_that(clock: FakeClock) -> None:
    backend = live_backend(clock, text=POLICY)
    for _ in range(5):
        end(backend, await backend.lease(), failure=REFUSED)
    assert backend.standing.blocked(clock.monotonic()) == "cooling_down"
    clock.move(3600.0)
    assert backend.standing.blocked(clock.monotonic()) == ""
    end(backend, await backend.lease(), Usage(exec_s=1.0))
    end(backend, await backend.lease(), failure=REFUSED)
    clock.move(60.0)
    assert backend.standing.blocked(clock.monotonic()) == ""


async def test_pings_keep_it_warm_and_say_nothing_of_when_callers_come(clock: FakeClock) -> None:
    backend = live_backend(clock, "burst")
    for _ in range(5):
        end(backend, await backend.lease(ping=True), Usage(exec_s=0.1))
        clock.move(30.0)
    assert backend.is_warm
    assert backend.last_call is None


@pytest.mark.parametrize(("queues", "sent"), [(True, 4), (False, 2)])
async def test_a_backend_that_refuses_what_it_cannot_run_is_sent_no_more_than_it_runs(
    clock: FakeClock, queues: bool, sent: int
) -> None:
    """One that queues is sent what keeps it busy; long calls here, so two rounds of them."""
    backend = live_backend(clock, text=POLICY)
    cast(Fake, backend.adapter).capabilities = Capabilities(queues=queues)
    calls = [asyncio.ensure_future(backend.lease()) for _ in range(6)]
    await settle()
    assert sum(call.done() for call in calls) == sent
    for call in calls:
        end(backend, await call)


@pytest.mark.parametrize(
    ("run_s", "own_share", "sent"),
    [(4.0, 1.0, 2), (4.0, 0.5, 4), (0.03, 1.0, 4)],
    ids=["long ones, alone", "long ones, together", "short ones"],
)
async def test_what_is_sent_ahead_is_what_keeps_it_busy(
    clock: FakeClock, run_s: float, own_share: float, sent: int
) -> None:
    """What waits there can go nowhere else any more."""
    backend = live_backend(clock, text=POLICY)
    end(backend, await backend.lease(), Usage(exec_s=run_s, gpu_s=own_share * run_s))
    calls = [asyncio.ensure_future(backend.lease()) for _ in range(6)]
    await settle()
    assert sum(call.done() for call in calls) == sent
    for call in calls:
        end(backend, await call)


# --- workers of its own -----------------------------------------------------------------------


def test_a_backend_whose_worker_starts_is_quoted_with_what_is_left_of_the_start(
    clock: FakeClock,
) -> None:
    """It need not be refused: the router weighs the start against the others' delays."""
    backend = live_backend(clock, text=POLICY.replace("slots: 2", "slots: 0"))
    assert candidate_of(backend, "chat", 0.0).blocked == "not_ready"
    cast(Fake, backend.adapter).starts_in = 3.0
    candidate = candidate_of(backend, "chat", 0.0)
    assert (candidate.blocked, candidate.load.ready_in_s) == ("", 3.0)
    cast(Fake, backend.adapter).slots = 2
    assert candidate_of(backend, "chat", 0.0).load.ready_in_s == 0.0


# --- models that it loads ---------------------------------------------------------------------


def test_a_backend_that_must_load_the_model_is_quoted_with_the_load(clock: FakeClock) -> None:
    """Others of its models are there; so it is for a call that waits in line there already."""
    backend = live_backend(clock)
    cast(Fake, backend.adapter).loads_in["chat"] = 3.0
    assert candidate_of(backend, "chat", 0.0).load.load_s == 3.0
    assert candidate_of(backend, "chat", 0.0, 5).load.load_s == 3.0
    assert candidate_of(backend, "other", 0.0).load.load_s == 0.0


def test_a_backend_that_could_not_load_the_model_is_left_out_for_it_alone(clock: FakeClock) -> None:
    """What concerns the whole backend is said before it."""
    backend = live_backend(clock)
    cast(Fake, backend.adapter).loads_in["chat"] = None
    assert candidate_of(backend, "chat", 0.0).blocked == "load_failed"
    assert candidate_of(backend, "other", 0.0).blocked == ""
    backend.draining = True
    assert candidate_of(backend, "chat", 0.0).blocked == "drained"


async def test_the_load_of_a_model_is_no_start_of_a_worker(clock: FakeClock) -> None:
    """What is learned of starts is what remains of the cold seconds without it."""
    backend, other = live_backend(clock, "burst"), live_backend(clock, "burst")
    lease = await backend.lease()
    end(backend, lease, Usage(exec_s=1.0, cold_s=80.0, load_s=80.0))
    assert backend.learned.cold is not None
    assert (backend.learned.cold.p50, backend.learned.cold.p95) == (5.0, 9.0)
    assert backend.is_warm
    end(backend, await backend.lease(), Usage(exec_s=1.0, cold_s=83.0, load_s=80.0))
    end(other, await other.lease(), Usage(exec_s=1.0, cold_s=3.0))
    assert other.learned.cold is not None
    assert (backend.learned.cold.p50, backend.learned.cold.p95) == (
        other.learned.cold.p50,
        other.learned.cold.p95,
    )


async def test_a_call_that_waits_for_its_model_is_no_sign_that_calls_run_long(
    clock: FakeClock,
) -> None:
    """It counts from the instant at which it should begin to run."""
    backend = live_backend(clock)
    lease = await backend.lease(load_s=30.0)
    clock.move(29.0)
    assert candidate_of(backend, "chat", clock.monotonic()).run.mean == 1.0
    clock.move(6.0)
    assert candidate_of(backend, "chat", clock.monotonic()).run.mean == 5.0
    end(backend, lease)


async def test_a_call_that_runs_behind_one_that_waits_for_its_model_is_still_a_sign(
    clock: FakeClock,
) -> None:
    backend = live_backend(clock, text=POLICY)
    waits = await backend.lease(load_s=30.0)
    runs = await backend.lease()
    clock.move(20.0)
    assert candidate_of(backend, "chat", clock.monotonic()).run.mean == 20.0
    for lease in (waits, runs):
        end(backend, lease)


async def test_a_call_that_was_never_begun_teaches_how_long_a_start_takes(clock: FakeClock) -> None:
    """The next ones are not quoted as the first was."""
    backend = live_backend(clock, "burst")
    before = backend.learned.cold
    assert before is not None
    quoted = before.p95
    for _ in range(3):
        lease = await backend.lease()
        clock.move(60.0)
        end(backend, lease, failure=BackendError(FailureClass.NOT_STARTED, "still queued"))
    assert before.p95 > 2 * quoted


async def test_a_platform_whose_workers_cannot_come_is_a_last_resort(clock: FakeClock) -> None:
    """One that is merely cold is not."""
    backend = live_backend(clock, "burst")
    backend.probed(Probe(ready=False, warm_workers=0, queued=0))
    assert not candidate_of(backend, "chat", clock.monotonic()).blocked
    backend.probed(Probe(ready=False, warm_workers=0, queued=5, stuck=True))
    candidate = candidate_of(backend, "chat", clock.monotonic())
    assert (candidate.blocked, candidate.last_resort) == ("not_ready", True)


async def test_news_of_slots_is_newer_than_a_word_that_was_said_without_any(
    clock: FakeClock,
) -> None:
    """Calls go to what has loaded before it is asked again how it is."""
    backend = live_backend(clock)
    fake = cast(Fake, backend.adapter)
    fake.slots = 0
    backend.probed(await fake.probe())
    assert (candidate_of(backend, "chat", 0.0).blocked, backend.is_warm) == ("not_ready", False)
    fake.slots = 2
    assert (candidate_of(backend, "chat", 0.0).blocked, backend.is_warm) == ("", True)
    fake.unwell = "its engine is stuck"
    backend.probed(await fake.probe())
    assert (candidate_of(backend, "chat", 0.0).blocked, backend.is_warm) == ("not_ready", False)
