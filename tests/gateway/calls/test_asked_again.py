"""Whoever waits because a backend asks for it is not sent away by the gateway afterwards."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from adapters.errors import BackendError, FailureClass, Fault
from adapters.types import Reply
from gateway.clock import FakeClock
from gateway.types import ApiError, Principal
from tests.gateway.assembled import ALICE, AssembledGateway, assembled

F = FailureClass
TWO_ROUTES = """
version: 1
server: {tls: "off", access_log: false}
backends:
  first: {kind: fake}
  second: {kind: fake, retry_budget: 1}
  third: {kind: fake}
models:
  one: {task: chat, backends: [first, second, third]}
  two: {task: chat, backends: [first, second, third]}
routes:
  - {name: one, when: {model: one}, use: [first, second, third], order: listed}
  - {name: two, when: {model: two}, use: [first, second, third], order: listed}
plans:
  default: {}
"""
BOB = Principal(key_id="key_bob", user="bob", plan="default")
POLICY = """
version: 1
server: {tls: "off", access_log: false}
backends:
  first: {kind: fake, price: tokens, expect: 1s}
models:
  alone: {task: chat, backends: [first], slo: 5s}
prices:
  tokens: {per_million_input: 1, per_million_output: 1, as_of: 2026-11-01, source: test}
plans:
  default: {spend: 5 USD/month}
"""


def limited(retry_after: float) -> BackendError:
    return BackendError(
        F.OVERLOADED, "slow down", fault=Fault.SUSPECT, status=429, retry_after=retry_after
    )


async def fails_for(gateway: AssembledGateway, principal: Principal, times: int = 1) -> None:
    for number in range(times):
        gateway.fake("first").tell(BackendError(F.FAILED, "it failed"))
        with pytest.raises(ApiError):
            await gateway.ask(gateway.call_state("alone", principal=principal, body=b"%d" % number))


@pytest.mark.parametrize("retry_after", [0.0, 0.25, 1.0, 2.0])
@pytest.mark.parametrize("passed_s", [0.0, 20.0, 600.0])
async def test_a_caller_who_waits_is_answered_whatever_another_one_met(
    passed_s: float, retry_after: float, tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock, POLICY) as gateway:
        await fails_for(gateway, ALICE)
        await clock.advance(passed_s)
        gateway.fake("first").tell(limited(retry_after))
        state, task = gateway.start("alone", principal=BOB)
        await gateway.until_done([task], step=0.25)
        assert isinstance(task.result(), Reply)
        assert [one.slug for one in state.tried] == ["overloaded"]


async def test_a_crowd_that_was_asked_to_wait_is_let_in_together(
    tmp_path: Path, clock: FakeClock
) -> None:
    """Nobody of it is told that the backend is tried by another one of it."""
    async with assembled(tmp_path, clock, POLICY) as gateway:
        gateway.fake("first").runs_for = 0.5
        gateway.fake("first").tell(*(limited(1.0) for _ in range(4)))
        tasks = [gateway.start("alone")[1] for _ in range(4)]
        await gateway.until_done(tasks, step=0.25)
        assert all(isinstance(task.result(), Reply) for task in tasks)


async def test_a_crowd_that_was_asked_to_wait_does_not_come_back_as_one(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock, POLICY) as gateway:
        gateway.fake("first").tell(*(limited(1.0) for _ in range(4)))
        started = [gateway.start("alone") for _ in range(4)]
        await gateway.until_done([task for _, task in started], step=0.25)
        waits = {state.waited_s for state, _ in started}
        assert len(waits) == 4
        assert 1.0 <= min(waits) < max(waits) <= 1.25


async def test_a_wait_that_the_call_has_no_time_for_is_none(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock, POLICY) as gateway:
        gateway.fake("first").tell(limited(1.0))
        state = gateway.call_state("alone")
        state.call = msgspec.structs.replace(state.call, deadline=clock.monotonic() + 0.5)
        with pytest.raises(ApiError):
            await gateway.ask(state)
        assert clock.monotonic() == state.received


async def test_a_backend_is_sent_no_more_repetitions_of_all_routes_than_it_allows(
    tmp_path: Path, clock: FakeClock
) -> None:
    """Ten a minute are always allowed; the next call goes to whom has room, or to nobody."""
    async with assembled(tmp_path, clock, TWO_ROUTES) as gateway:
        gateway.fake("first").answers = lambda _: BackendError(F.TOO_LARGE, "too large")
        asked = [gateway.call_state(("one", "two")[number % 2]) for number in range(12)]
        for state in asked[:10]:
            await gateway.ask(state)
        assert len(gateway.fake("second").calls) == 10
        await gateway.ask(asked[10])
        assert len(gateway.fake("third").calls) == 1
        gateway.fake("third").answers = lambda _: BackendError(F.TOO_LARGE, "too large")
        with pytest.raises(ApiError):
            await gateway.ask(asked[11])
        assert dict(asked[11].not_asked) == {"second": "backend_retry_budget"}
        assert len(gateway.fake("second").calls) == 10


async def test_a_backend_that_will_rest_for_longer_is_not_waited_for(
    tmp_path: Path, clock: FakeClock
) -> None:
    """The caller is told at once what the backend said, and when it said to come again."""
    async with assembled(tmp_path, clock, POLICY) as gateway:
        gateway.fake("first").answers = lambda _: BackendError(F.OVERLOADED, "full")
        for _ in range(3):
            with pytest.raises(ApiError):
                await gateway.ask(gateway.call_state("alone"))
            await clock.advance(10.0)
        gateway.fake("first").answers = lambda _: BackendError(
            F.OVERLOADED, "slow down", status=503, retry_after=1.0
        )
        for _ in range(5):
            asked, before = len(gateway.fake("first").calls), clock.monotonic()
            with pytest.raises(ApiError) as caught:
                await gateway.ask(gateway.call_state("alone"))
            assert caught.value.message == "slow down"
            assert caught.value.headers["Retry-After"] == "1"
            assert (len(gateway.fake("first").calls), clock.monotonic()) == (asked + 1, before)
            await clock.advance(61.0)
