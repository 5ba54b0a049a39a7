"""A whole answer that does not come: how long it is waited for, and who is asked then."""

from __future__ import annotations

from pathlib import Path

import pytest

from adapters.errors import BackendError, FailureClass
from adapters.types import Reply, Usage
from gateway.clock import FakeClock
from gateway.preferences import Preferences
from gateway.routing.answer_times import ENOUGH, SHORTEST_S, Slowest
from tests.gateway.assembled import AssembledGateway, assembled
from tests.gateway.calls.test_failover import asked, policy

DECLARED = ", answer: 5s"
LEARNED = ", answer: learned"
TOKENS = Preferences(None, None, 100)
LONGER_S = 40.0


async def with_a_past(gateway: AssembledGateway, seconds: float = 1.0) -> None:
    """The first backend has answered often enough, in so many seconds each."""
    learned = gateway.inner.active.backends["first"].learned
    for _ in range(ENOUGH):
        learned.observe_answer("chat", seconds, 100, 2)


async def silent_for(gateway: AssembledGateway, seconds: float, model: str = "chat") -> list[str]:
    """Asks while the first backend is silent for so long; the failures on the way."""
    gateway.fake("first").runs_for = seconds
    state, task = gateway.start(model, preferences=TOKENS)
    await gateway.until_asked("first")
    await gateway.until_done([task], step=1.0)
    if task.exception() is None:
        assert isinstance(task.result(), Reply)
    assert gateway.fake("first").running == 0
    return [f"{one.backend}: {one.slug}" for one in state.tried]


@pytest.mark.parametrize("price", ["tokens", "reserved"])
async def test_an_answer_that_is_not_here_by_its_declared_time_is_asked_of_another(
    price: str, tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock, policy(price, DECLARED)) as gateway:
        assert await silent_for(gateway, 20.0) == ["first: timeout"]
        assert asked(gateway) == [1, 1, 0]


async def test_the_bound_of_a_backend_holds_where_its_route_has_none(
    tmp_path: Path, clock: FakeClock
) -> None:
    text = policy().replace("first: {kind: fake,", "first: {kind: fake, answer: 5s,")
    async with assembled(tmp_path, clock, text) as gateway:
        assert await silent_for(gateway, 20.0) == ["first: timeout"]


async def test_an_answer_within_its_time_is_left_alone(tmp_path: Path, clock: FakeClock) -> None:
    async with assembled(tmp_path, clock, policy(route=DECLARED)) as gateway:
        assert await silent_for(gateway, 4.0) == []


async def test_a_wait_in_the_platforms_own_queue_is_not_the_runs(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock, policy(route=DECLARED)) as gateway:
        gateway.fake("first").queues_for = 20.0
        assert await silent_for(gateway, 2.0) == []


async def test_where_both_runs_would_be_billed_the_caller_is_told(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock, policy("seconds", DECLARED)) as gateway:
        assert await silent_for(gateway, 20.0) == ["first: timeout"]
        assert asked(gateway) == [1, 0, 0]


# --- learned --------------------------------------------------------------------------------------


async def test_a_backend_that_is_silent_for_far_longer_than_ever_is_left(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock, policy(route=LEARNED)) as gateway:
        await with_a_past(gateway)
        begun = clock.monotonic()
        assert await silent_for(gateway, LONGER_S) == ["first: timeout"]
        assert SHORTEST_S <= clock.monotonic() - begun < LONGER_S


async def test_nothing_is_cut_while_too_little_was_learned(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock, policy(route=LEARNED)) as gateway:
        assert await silent_for(gateway, LONGER_S) == []


@pytest.mark.parametrize(
    ("price", "route"),
    [
        ("seconds", LEARNED),
        ("seconds", LEARNED + ", repeat: always"),
        ("tokens", LEARNED + ", repeat: never"),
        ("tokens", LEARNED + ", idempotent: false"),
        ("tokens", LEARNED + ", retries: {attempts: 1}"),
        ("tokens", LEARNED + ", retries: {on: [unreachable]}"),
    ],
)
async def test_no_guess_cuts_an_answer_that_no_other_backend_may_give(
    price: str, route: str, tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock, policy(price, route)) as gateway:
        await with_a_past(gateway)
        assert await silent_for(gateway, LONGER_S) == []
        assert asked(gateway) == [1, 0, 0]


async def test_no_guess_cuts_an_answer_while_the_others_are_not_well(
    tmp_path: Path, clock: FakeClock
) -> None:
    text = policy(route=LEARNED)
    async with assembled(tmp_path, clock, text) as gateway:
        await with_a_past(gateway)
        for name in ("second", "third"):
            gateway.inner.active.backends[name].draining = True
        assert await silent_for(gateway, LONGER_S) == []


async def test_native_calls_are_never_cut_by_a_guess(tmp_path: Path, clock: FakeClock) -> None:
    """Nobody knows what they ask for."""
    text = policy(route=LEARNED + ", idempotent: true")
    async with assembled(tmp_path, clock, text) as gateway:
        learned = gateway.inner.active.backends["first"].learned
        for _ in range(ENOUGH):
            learned.observe_answer("infer", 1.0, 100, 2)
        assert await silent_for(gateway, LONGER_S, model="infer") == []


async def test_what_a_backend_took_is_learned_from_its_answers(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock, policy()) as gateway:
        first = gateway.inner.active.backends["first"]
        usage = Usage(input_tokens=1, output_tokens=10, exec_s=0.0)
        gateway.fake("first").answers = lambda _: Reply(body=b"{}", usage=usage)
        for _ in range(ENOUGH):
            await gateway.ask(gateway.call_state())
        assert first.learned.slowest("chat", 100, 2).is_known


async def test_failures_teach_nothing_of_how_long_answers_take(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock, policy()) as gateway:
        first = gateway.inner.active.backends["first"]
        error = BackendError(FailureClass.INVALID, "no")
        gateway.fake("first").answers = lambda _: error
        for _ in range(ENOUGH):
            with pytest.raises(Exception, match="no"):
                await gateway.ask(gateway.call_state())
        assert first.learned.slowest("chat", 0, 2) == Slowest()
