"""Priority orders the line, and a start that should be sooner is waited for."""

from __future__ import annotations

from pathlib import Path

from gateway.backends.candidates import candidate_of
from gateway.clock import FakeClock, settle
from gateway.preferences import Preferences
from gateway.types import Principal
from tests.gateway.assembled import ALICE, NO_OUTPUT, POLICY, assembled

LOW = Preferences("low", None, 0)
HURRIED = Principal(key_id="key_h", user="hank", plan="hurried")
LINE = POLICY.replace("slots: 2,", "slots: 1, concurrency: 1,").replace("slo: 2s", "slo: 60s")
PLANS = LINE + "  hurried: {priority: high}\n"


async def test_a_call_of_a_high_plan_goes_before_normal_ones_that_wait(
    tmp_path: Path, clock: FakeClock
) -> None:
    """Low ones come last, whenever they came."""
    async with assembled(tmp_path, clock, PLANS) as gateway:
        home = gateway.fake("home")
        home.runs_for = 1.0
        ids: dict[str, str] = {}
        tasks = []
        callers = [
            ("first", ALICE, NO_OUTPUT),
            ("low", ALICE, LOW),
            *((f"normal {number}", ALICE, NO_OUTPUT) for number in range(5)),
            ("high", HURRIED, NO_OUTPUT),
        ]
        for name, principal, preferences in callers:
            state, task = gateway.start(principal=principal, preferences=preferences)
            await settle()
            ids[state.call.id] = name
            tasks.append(task)
        await gateway.until_done(tasks, 1.0)
        order = [ids[call.id] for call in home.calls]
        assert order[:2] == ["first", "high"]
        assert order[2:4] == ["normal 0", "normal 1"]
        assert order.index("low") == 7


async def test_the_delay_that_is_quoted_knows_whom_a_call_goes_before(
    tmp_path: Path, clock: FakeClock
) -> None:
    """So that a call of high priority does not flee from a line in which it would be the first."""
    async with assembled(tmp_path, clock, PLANS) as gateway:
        gateway.fake("home").runs_for = 1.0
        tasks = [gateway.start()[1] for _ in range(9)]
        await settle()
        now, home = clock.monotonic(), gateway.inner.active.backends["home"]
        ahead = [candidate_of(home, "chat", now, rank=rank).load.in_flight for rank in range(3)]
        assert ahead == [9, 9, 1]
        await gateway.until_done(tasks, 1.0)


async def test_a_local_start_that_is_sooner_than_the_alternatives_cold_start_is_waited_for(
    tmp_path: Path, clock: FakeClock
) -> None:
    """As after a restart: nothing is sold that takes longer and costs more."""
    text = POLICY.replace("slots: 2,", "slots: 0,")
    async with assembled(tmp_path, clock, text) as gateway:
        home = gateway.fake("home")
        home.starts_in = 5.0
        state = gateway.call_state()
        await gateway.ask(state)
        assert (await gateway.row(state.call.id)).backend == "home"
        home.starts_in = 60.0
        state = gateway.call_state()
        await gateway.ask(state)
        assert (await gateway.row(state.call.id)).backend == "burst"
