"""Who waits, and who does not, where others hold more than they will probably cost."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from adapters.types import Call, Reply, Usage
from gateway.clock import FakeClock, settle
from gateway.holds.line import LONGEST_S, LOOKS_EVERY_S
from gateway.preferences import Preferences
from gateway.storage.base import Claim
from gateway.types import ApiError
from tests.gateway.assembled import AssembledGateway, assembled, read
from tests.gateway.token_budgets import SPENDS_TOKENS
from tests.waiting import until

POLICY = SPENDS_TOKENS.replace("per_million_output: 1000", "per_million_output: 10")
POLICY = POLICY.replace("concurrent: 100,", "concurrent: 5000,")
"""A thousand tokens of output are a cent: a hundred of them use the budget up."""
CENT = 10_000_000
BODY = b'{"model": "chat"}'
FOUR = Preferences(None, None, 4000)
"""Says itself that it may write four times a thousand."""


def writes_a_thousand(call: Call) -> Reply:
    most = min(1000, json.loads(call.body).get("max_tokens", 1000))
    return Reply(body=b"{}", usage=Usage(input_tokens=1, output_tokens=most, exec_s=1.0))


def budget(take: int = 0) -> Claim:
    return Claim("user:alice", "nano_usd", "month", 100 * CENT, take)


async def room(gateway: AssembledGateway) -> tuple[int, int, int]:
    """(remaining, held, surplus) of the budget, in cents."""
    [status] = await gateway.inner.shared.statuses([budget()])
    return status.remaining // CENT, status.held // CENT, status.surplus // CENT


async def told(tasks: list[asyncio.Task[Any]]) -> Counter[str]:
    """How many were answered, and how many refused with which code."""
    ends = await asyncio.gather(*tasks, return_exceptions=True)
    return Counter(end.code if isinstance(end, ApiError) else "answer" for end in ends)


async def learn(gateway: AssembledGateway, calls: int = 3) -> None:
    """That calls cost a quarter of what is held for them."""
    for _ in range(calls):
        await gateway.ask_after(gateway.call_state(preferences=FOUR), 1.0)


SIX_CENTS = POLICY.replace("1 USD/month", "0.06 USD/month")
"""One call that holds four leaves too little for a second."""


@contextlib.asynccontextmanager
async def one_asked(
    folder: Path, clock: FakeClock, text: str = SIX_CENTS, *, runs_for: float = 1.0
) -> AsyncIterator[tuple[AssembledGateway, asyncio.Task[Any]]]:
    """A gateway with one call at its backend, which runs for so many seconds."""
    async with assembled(folder, clock, text) as gateway:
        fake = gateway.fake("burst")
        fake.answers, fake.runs_for = writes_a_thousand, runs_for
        _, first = gateway.start(preferences=FOUR)
        await gateway.until_asked("burst")
        yield gateway, first


async def until_all_asked(gateway: AssembledGateway, count: int) -> None:
    await until(lambda: gateway.fake("burst").running == count, f"{count} run", every_s=0.001)


async def test_a_thousand_calls_at_once_use_a_budget_up_of_which_they_hold_four_times_as_much(
    tmp_path: Path, clock: FakeClock
) -> None:
    """A hundred fit by what they cost, and twenty-five by what is held for them."""
    async with assembled(tmp_path, clock, POLICY) as gateway:
        fake = gateway.fake("burst")
        fake.answers, fake.runs_for = writes_a_thousand, 0.5
        tasks = [gateway.start(preferences=FOUR)[1] for _ in range(1000)]
        await gateway.until_done(tasks, step=0.05)
        ends = await told(tasks)
        assert set(ends) == {"answer", "budget_exhausted"}
        assert ends["answer"] >= 97
        assert await gateway.spent() == ends["answer"] * CENT
        assert await room(gateway) == (100 - ends["answer"], 0, 0)


async def test_what_is_told_as_left_is_what_will_probably_be_left(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock, POLICY) as gateway, gateway.client() as client:
        gateway.fake("burst").answers = writes_a_thousand
        await learn(gateway)
        assert await room(gateway) == (97, 0, 0)
        gateway.fake("burst").runs_for = 5.0
        _, task = gateway.start(preferences=FOUR)
        await gateway.until_asked("burst")
        assert await room(gateway) == (93, 4, 3)
        [left] = [
            one["remaining"]
            for one in (await client.get("/v1/me")).json()["limits"]
            if one["unit"] == "usd"
        ]
        assert left == 0.96
        await gateway.until_done([task], step=0.5)
        assert await room(gateway) == (96, 0, 0)


async def test_a_call_waits_for_one_that_holds_what_it_needs(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with one_asked(tmp_path, clock) as (gateway, first):
        state, second = gateway.start(preferences=FOUR)
        await gateway.until_done([first, second], step=0.1)
        await second
        assert state.waited_s >= 0.8
        assert await gateway.spent() == 2 * CENT


async def test_a_call_that_has_waited_is_not_sent_where_no_more_calls_are_to_be_sent(
    tmp_path: Path, clock: FakeClock
) -> None:
    text = SIX_CENTS.replace(
        "models:", "  spare: {kind: fake, price: tokens, expect: 90s}\nmodels:"
    )
    text = text.replace("[burst]", "[burst, spare]")
    async with one_asked(tmp_path, clock, text) as (gateway, first):
        _, second = gateway.start(preferences=FOUR)
        await settle()
        gateway.inner.set_draining("burst", True)
        await gateway.until_done([first, second], step=0.1)
        assert (len(gateway.fake("burst").calls), len(gateway.fake("spare").calls)) == (1, 1)


async def test_a_call_that_no_end_of_another_helps_is_refused_at_once(
    tmp_path: Path, clock: FakeClock
) -> None:
    text = POLICY.replace("1 USD/month", "0.05 USD/month")
    async with assembled(tmp_path, clock, text) as gateway:
        gateway.fake("burst").answers = writes_a_thousand
        await learn(gateway, 2)
        with pytest.raises(ApiError, match=r"has 0\.03 USD left") as caught:
            await gateway.ask(gateway.call_state(preferences=FOUR))
        assert caught.value.code == "budget_exhausted"


async def test_a_call_is_told_what_others_hold_when_it_has_waited_in_vain(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with one_asked(tmp_path, clock, runs_for=60.0) as (gateway, first):
        state, second = gateway.start(preferences=FOUR)
        await gateway.until_done([second], step=0.5)
        with pytest.raises(ApiError, match=r"has 0.02 USD left .* beside 0.04 USD that calls"):
            await second
        assert LONGEST_S <= state.waited_s < LONGEST_S + 1.0
        await gateway.until_done([first], step=5.0)


async def test_where_calls_cost_what_is_held_for_them_nobody_waits(
    tmp_path: Path, clock: FakeClock
) -> None:
    text = POLICY.replace("{per_million_output: 10,", "{per_call: 0.04,")
    async with assembled(tmp_path, clock, text) as gateway:
        gateway.fake("burst").answers = writes_a_thousand
        await learn(gateway)
        gateway.fake("burst").runs_for = 60.0
        tasks = [gateway.start(preferences=FOUR)[1] for _ in range(22)]
        await until_all_asked(gateway, 22)
        with pytest.raises(ApiError) as caught:
            await gateway.ask(gateway.call_state(preferences=FOUR))
        assert caught.value.code == "budget_exhausted"
        await gateway.until_done(tasks, step=10.0)


UNBOUNDED = Preferences(None, None, 4000, 1)


async def others_hold(gateway: AssembledGateway, left: int) -> list[Claim]:
    """So much less than all of the budget."""
    [status] = await gateway.inner.shared.statuses([budget()])
    held = [budget(status.remaining - left)]
    await gateway.inner.shared.admit("others", held, 600.0)
    return held


async def test_an_answer_that_is_bounded_to_more_than_is_usual_waits_for_nobody(
    tmp_path: Path, clock: FakeClock
) -> None:
    """Two cents are two thousand tokens, twice what such calls write."""
    async with assembled(tmp_path, clock, POLICY) as gateway:
        gateway.fake("burst").answers = writes_a_thousand
        await learn(gateway)
        await others_hold(gateway, 2 * CENT)
        state = gateway.call_state(body=BODY, preferences=UNBOUNDED)
        await gateway.ask(state)
        assert state.output_bound == 2000
        assert state.waited_s == 0


@pytest.mark.parametrize(
    ("gives_back", "bound"), [(True, 4000), (False, 100)], ids=["room", "none"]
)
async def test_an_answer_is_cut_short_only_where_nobody_gives_back_what_it_needs(
    gives_back: bool, bound: int, tmp_path: Path, clock: FakeClock
) -> None:
    """A tenth of a cent is a hundred tokens."""
    async with assembled(tmp_path, clock, POLICY) as gateway:
        gateway.fake("burst").answers = writes_a_thousand
        await learn(gateway)
        held = await others_hold(gateway, CENT // 10)
        state, task = gateway.start(body=BODY, preferences=UNBOUNDED)
        await clock.advance(1.0)
        assert not task.done()
        if gives_back:
            await gateway.inner.shared.settle("others", held, {"nano_usd": 0})
        await gateway.until_done([task], step=0.1)
        await task
        assert state.output_bound == bound


async def test_a_call_that_waits_holds_by_the_limits_that_a_reload_brings(
    tmp_path: Path, clock: FakeClock
) -> None:
    after = POLICY.replace("1 USD/month", "0.045 USD/month")
    async with one_asked(tmp_path, clock) as (gateway, first):
        _, second = gateway.start(preferences=FOUR)
        await clock.advance(0.1)
        await gateway.inner.apply(read(after))
        await gateway.until_done([first, second], step=0.1)
        with pytest.raises(ApiError, match=r"has 0\.035 USD left"):
            await second


async def test_a_call_that_is_left_while_it_waits_holds_nothing(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with one_asked(tmp_path, clock, runs_for=3.0) as (gateway, first):
        _, second = gateway.start(preferences=FOUR)
        _, third = gateway.start(preferences=FOUR)
        await clock.advance(LOOKS_EVERY_S)
        second.cancel()
        await gateway.until_done([first, second, third], step=0.1)
        await third
        assert gateway.inner.dispatcher.held == 0
        assert await gateway.spent() == 2 * CENT


async def test_room_that_another_gateway_makes_is_found(tmp_path: Path, clock: FakeClock) -> None:
    """Of which nobody here is told: the first who waits looks by itself."""
    async with assembled(tmp_path, clock, POLICY) as gateway:
        gateway.fake("burst").answers = writes_a_thousand
        shared = gateway.inner.shared
        held = [budget(99 * CENT)]
        await shared.admit("elsewhere", held, 600.0)
        _, task = gateway.start(preferences=FOUR)
        await clock.advance(3 * LOOKS_EVERY_S)
        assert not task.done()
        await shared.settle("elsewhere", held, {"nano_usd": CENT})
        await gateway.until_done([task], step=LOOKS_EVERY_S)
        await task
