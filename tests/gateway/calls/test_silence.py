"""A backend that brings nothing, by the policy's defaults: another one answers, and honest calls
have their time."""

from __future__ import annotations

from pathlib import Path

import pytest

from adapters.types import Chunk, Reply
from gateway.calls.answer_limit import ILL_S
from gateway.calls.stream import SettledStream
from gateway.clock import FakeClock
from gateway.preferences import Preferences
from gateway.routing.answer_times import DOUBTED_UNKNOWN_S, ENOUGH, SHORTEST_S, UNKNOWN_S
from tests.gateway.assembled import AssembledGateway, assembled
from tests.gateway.calls.test_failover import asked, policy

CALLS = 12
EVER_S = 1e6
TOKENS = Preferences(None, None, 100)
PIECES = [Chunk(b"data: {}\n\n")]
STEP_S = 2.0
SOON_S = 2 * STEP_S


async def answered_after(gateway: AssembledGateway, *, stream: bool = False) -> float:
    """Seconds until one call has its answer, or the first token of it."""
    begun = gateway.clock.monotonic()
    for name in ("second", "third"):
        if stream:
            gateway.fake(name).answers = lambda _: PIECES
    _, task = gateway.start(stream=stream, preferences=TOKENS)
    await gateway.until_done([task], step=STEP_S)
    answer = task.result()
    if isinstance(answer, SettledStream):
        async with answer:
            assert [piece async for piece in answer] == [PIECES[0].data]
    else:
        assert isinstance(answer, Reply)
    return gateway.clock.monotonic() - begun


@pytest.mark.parametrize(
    ("past", "first_s", "price", "stream"),
    [
        (0, UNKNOWN_S, "tokens", False),
        (0, UNKNOWN_S, "reserved", True),
        (ENOUGH, SHORTEST_S, "reserved", False),
        (ENOUGH, SHORTEST_S, "tokens", True),
    ],
)
async def test_where_the_first_is_silent_for_ever_every_call_is_answered_by_the_next(
    past: int, first_s: float, price: str, stream: bool, tmp_path: Path, clock: FakeClock
) -> None:
    """The first call waits for long; then one a rest tries whether it speaks again."""
    async with assembled(tmp_path, clock, policy(price)) as gateway:
        for _ in range(past):
            gateway.inner.active.backends["first"].learned.observe_answer("chat", 1.0, 100, 2)
        gateway.fake("first").runs_for = EVER_S
        waits = [await answered_after(gateway, stream=stream) for _ in range(CALLS)]
        assert first_s <= waits[0] <= first_s + SOON_S
        assert all(wait <= DOUBTED_UNKNOWN_S + SOON_S for wait in waits[1:])
        assert min(waits) <= SOON_S
        assert asked(gateway)[1] == CALLS


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_one_that_says_that_it_is_not_well_is_left_as_soon_as_that_is_sure(
    stream: bool, tmp_path: Path, clock: FakeClock
) -> None:
    """Those that come after it knows go elsewhere at once."""
    async with assembled(tmp_path, clock, policy()) as gateway:
        first = gateway.fake("first")
        first.runs_for, first.unwell = EVER_S, "the engine is dead"
        wait_s = await answered_after(gateway, stream=stream)
        assert ILL_S <= wait_s <= 2 * ILL_S + SOON_S
        assert await answered_after(gateway, stream=stream) <= SOON_S


async def test_one_that_says_that_it_is_well_all_the_while_is_tried_ever_more_seldom(
    tmp_path: Path, clock: FakeClock
) -> None:
    """And as soon as it says so after it said otherwise."""
    async with assembled(tmp_path, clock, policy()) as gateway:
        first, begun = gateway.fake("first"), clock.monotonic()
        first.runs_for = EVER_S
        while clock.monotonic() < begun + 900.0:
            await answered_after(gateway)
        assert len(first.calls) <= 18
        before = len(first.calls)
        for first.unwell in ("it starts again", ""):
            await clock.advance(3 * STEP_S)
        await answered_after(gateway)
        assert len(first.calls) == before + 1


async def test_one_bad_word_cuts_no_answer(tmp_path: Path, clock: FakeClock) -> None:
    """A busy server may be slow to say how it is."""
    async with assembled(tmp_path, clock, policy()) as gateway:
        first = gateway.fake("first")
        first.runs_for = 40.0
        _, task = gateway.start(preferences=TOKENS)
        await gateway.until_asked("first")
        for number in range(80):
            first.unwell = "" if number % 12 else "it is busy"
            await clock.advance(0.5)
        await gateway.until_done([task], step=STEP_S)
        assert asked(gateway) == [1, 0, 0]


@pytest.mark.parametrize("seconds", [60.0, UNKNOWN_S - 2.0])
async def test_long_honest_answers_have_their_time_from_the_first_call_on(
    seconds: float, tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock, policy()) as gateway:
        gateway.fake("first").runs_for = seconds
        for _ in range(2):
            assert await answered_after(gateway) >= seconds
        assert asked(gateway) == [2, 0, 0]


async def test_what_took_long_before_may_take_as_long_again(
    tmp_path: Path, clock: FakeClock
) -> None:
    """Whatever another one would do meanwhile, and however few were seen."""
    async with assembled(tmp_path, clock, policy()) as gateway:
        first = gateway.fake("first")
        for first.runs_for in (110.0, 290.0):
            await answered_after(gateway)
        assert asked(gateway) == [2, 0, 0]


async def test_nobody_is_cut_off_where_none_is_left(tmp_path: Path, clock: FakeClock) -> None:
    async with assembled(tmp_path, clock, policy()) as gateway:
        gateway.fake("first").runs_for = 200.0
        _, task = gateway.start("alone", preferences=TOKENS)
        await gateway.until_done([task], step=STEP_S)
        assert isinstance(task.result(), Reply)


@pytest.mark.parametrize("route", [", answer: none", ", answer: 500s"])
async def test_the_policy_may_say_otherwise(route: str, tmp_path: Path, clock: FakeClock) -> None:
    async with assembled(tmp_path, clock, policy(route=route)) as gateway:
        gateway.fake("first").runs_for = 200.0
        assert await answered_after(gateway) >= 200.0
        assert asked(gateway) == [1, 0, 0]


async def test_a_run_that_is_longer_than_it_may_be_goes_on_elsewhere(
    tmp_path: Path, clock: FakeClock
) -> None:
    """Where the call itself still has time."""
    text = policy(route=", answer: none").replace(
        "first: {kind: fake,", "first: {kind: fake, max_run: 20s,"
    )
    async with assembled(tmp_path, clock, text) as gateway:
        gateway.fake("first").runs_for = EVER_S
        assert 20.0 <= await answered_after(gateway) <= 20.0 + SOON_S
        assert asked(gateway) == [1, 1, 0]
