"""A call that goes on to a larger model is held in that model's own limits too."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from adapters.errors import BackendError, FailureClass
from adapters.types import Chunk
from gateway.calls.stream import SettledStream
from gateway.clock import FakeClock
from gateway.preferences import Preferences
from gateway.types import ApiError
from tests.gateway.assembled import AssembledGateway, assembled, read
from tests.gateway.limits.gateways import CENT, DAVE, DOLLAR, left, past_caps, read_all, used

POLICY = """
version: 1
server: {tls: "off", access_log: false}
backends:
  small: {kind: fake, price: free, slots: 2000, max_queue: 5000}
  big: {kind: fake, price: big, slots: 2000, max_queue: 5000}
  spare: {kind: fake, price: big, slots: 2000, max_queue: 5000}
  huge: {kind: fake, price: big, slots: 2000, max_queue: 5000}
models:
  chat: {task: chat, backends: [small], larger: long}
  long: {task: chat, backends: [big, spare], larger: longest}
  longest: {task: chat, backends: [huge]}
prices:
  free: {per_call: 0}
  big: {%s}
routes:
  - name: default
    use: [small, big, spare, huge]
    order: listed
    repeat: always
    idempotent: true
"""
A_CENT = POLICY % "per_call: 0.01"
BODY = b'{"model": "chat", "messages": []}'
TOO_LONG = BackendError(
    FailureClass.CONTEXT_TOO_LONG, "too many tokens", status=400, code="context_length_exceeded"
)


def refuse(gateway: AssembledGateway, *backends: str) -> None:
    for name in backends:
        gateway.fake(name).answers = lambda _: TOO_LONG


def start(gateway: AssembledGateway, **options: Any) -> asyncio.Task[Any]:
    return gateway.start("chat", **{"principal": DAVE, "body": BODY, **options})[1]


async def spent(gateway: AssembledGateway, model: str) -> int:
    return DOLLAR - await left(gateway, f"model:{model}", "nano_usd", "day", DOLLAR)


def limited(text: str, **limits: str) -> str:
    each = ", ".join(f"{model}: {{{what}}}" for model, what in limits.items())
    return f"{text}limits: {{models: {{{each}}}}}\n"


async def test_three_hundred_calls_at_once_pass_no_cap_of_the_larger_model(
    tmp_path: Path, clock: FakeClock
) -> None:
    """A hundred are served; the others are told what the smaller model said, and cost nothing."""
    text = limited(A_CENT, long="spend: 1 USD/day")
    async with assembled(tmp_path, clock, text) as gateway:
        refuse(gateway, "small")
        gateway.fake("big").runs_for = 1.0
        tasks = [start(gateway) for _ in range(300)]
        await gateway.until_done(tasks, step=0.2)
        errors = [task.exception() for task in tasks if task.exception() is not None]
        assert len(gateway.fake("big").calls) == 100
        assert len(errors) == 200
        assert {getattr(error, "code", "") for error in errors} == {"context_length_exceeded"}
        assert await spent(gateway, "long") == DOLLAR == await gateway.spent("dave")
        assert await past_caps(gateway) == 0
        assert gateway.inner.dispatcher.held == 0


async def test_the_row_says_that_it_was_the_models_limit(tmp_path: Path, clock: FakeClock) -> None:
    text = limited(A_CENT, long="spend: 0.001 USD/day")
    async with assembled(tmp_path, clock, text) as gateway:
        refuse(gateway, "small")
        state = gateway.call_state(principal=DAVE, body=BODY)
        with pytest.raises(ApiError):
            await gateway.ask(state)
        row = await gateway.row(state.call.id)
        assert row.history is not None
        assert dict(row.history.not_asked) == {"big": "model_limit", "spare": "model_limit"}


async def test_it_counts_in_the_limits_of_both(tmp_path: Path, clock: FakeClock) -> None:
    text = limited(A_CENT, chat="spend: 1 USD/day", long="spend: 1 USD/day")
    async with assembled(tmp_path, clock, text) as gateway:
        refuse(gateway, "small")
        await gateway.ask(gateway.call_state(principal=DAVE, body=BODY))
        assert [await spent(gateway, model) for model in ("chat", "long")] == [CENT, CENT]


async def test_one_that_goes_on_once_more_leaves_the_limits_between(
    tmp_path: Path, clock: FakeClock
) -> None:
    text = limited(
        A_CENT,
        long="concurrent: 1, spend: 1 USD/day",
        longest="concurrent: 1, spend: 1 USD/day",
    )
    async with assembled(tmp_path, clock, text) as gateway:
        refuse(gateway, "small", "big", "spare")
        gateway.fake("huge").runs_for = 5.0
        task = start(gateway)
        await gateway.until_asked("huge")
        assert await left(gateway, "model:long", "concurrent", "", 1) == 1
        assert await left(gateway, "model:longest", "concurrent", "", 1) == 0
        await gateway.until_done([task], step=1.0)
        assert [await spent(gateway, model) for model in ("long", "longest")] == [0, CENT]
        assert await left(gateway, "model:longest", "concurrent", "", 1) == 1


async def test_what_its_failed_attempts_cost_counts_in_the_model_of_each(
    tmp_path: Path, clock: FakeClock
) -> None:
    """Three seconds at one backend of the larger model, two at the next."""
    text = limited(
        POLICY % "per_second: 0.001, bills: [run]",
        chat="spend: 1 USD/day",
        long="spend: 1 USD/day",
    )
    async with assembled(tmp_path, clock, text) as gateway:
        refuse(gateway, "small")
        gateway.fake("big").runs_for, gateway.fake("spare").runs_for = 3.0, 2.0
        gateway.fake("big").tell(BackendError(FailureClass.FAILED, "it broke"))
        await gateway.until_done([task := start(gateway)], step=0.5)
        await task
        assert [await spent(gateway, model) for model in ("chat", "long")] == [5_000_000] * 2


@pytest.mark.parametrize("when", ["from the start", "by a reload"])
async def test_a_call_ends_where_the_larger_models_limit_does(
    when: str, tmp_path: Path, clock: FakeClock
) -> None:
    before = POLICY % "per_second: 0.001, bills: [run]"
    capped = limited(before, long="spend: 0.02 USD/day")
    async with assembled(
        tmp_path, clock, capped if when == "from the start" else before
    ) as gateway:
        refuse(gateway, "small")
        gateway.fake("big").runs_for = 90.0
        task = start(gateway)
        await gateway.until_asked("big")
        await clock.advance(5.0)
        if when == "by a reload":
            await gateway.inner.apply(read(capped))
        await gateway.until_done([task], step=0.5)
        assert getattr(task.exception(), "code", "") == "budget_exhausted"
        assert 5_000_000 <= await spent(gateway, "long") <= 20_000_000
        assert await spent(gateway, "long") == await gateway.spent("dave")
        assert await past_caps(gateway) == 0


async def test_a_stream_that_brings_more_than_is_held_is_stopped_there(
    tmp_path: Path, clock: FakeClock
) -> None:
    text = limited(A_CENT, long="output_tokens: 1200/day")
    async with assembled(tmp_path, clock, text) as gateway:
        refuse(gateway, "small")
        gateway.fake("big").tell([Chunk(b"data: {}\n\n", tokens=1) for _ in range(3000)])
        wanted = Preferences(None, None, 1000)
        state = gateway.call_state(stream=True, principal=DAVE, body=BODY, preferences=wanted)
        answer = await gateway.ask(state)
        assert isinstance(answer, SettledStream)
        with pytest.raises(asyncio.CancelledError):
            await read_all(answer)
        assert state.stop_cause == "budget"
        assert await left(gateway, "model:long", "output_tokens", "day", 1200) < 200


async def test_tokens_of_the_call_count_there(tmp_path: Path, clock: FakeClock) -> None:
    text = limited(A_CENT, long="tokens: 5000/day, requests: 2/day")
    async with assembled(tmp_path, clock, text) as gateway:
        refuse(gateway, "small")
        gateway.fake("big").answers = lambda _: used(30, 500)
        wanted = Preferences(None, None, 1000)
        await gateway.ask(gateway.call_state(principal=DAVE, body=BODY, preferences=wanted))
        assert await left(gateway, "model:long", "tokens", "day", 5000) == 4470


async def test_a_call_that_is_cancelled_holds_nothing_more(
    tmp_path: Path, clock: FakeClock
) -> None:
    text = limited(A_CENT, long="concurrent: 1, spend: 1 USD/day")
    async with assembled(tmp_path, clock, text) as gateway:
        refuse(gateway, "small")
        gateway.fake("big").runs_for = 50.0
        task = start(gateway)
        await gateway.until_asked("big")
        task.cancel()
        await gateway.until_done([task], step=1.0)
        assert await left(gateway, "model:long", "concurrent", "", 1) == 1


async def test_what_is_held_again_is_held_once(tmp_path: Path, clock: FakeClock) -> None:
    text = limited(A_CENT, chat="concurrent: 3", long="concurrent: 3")
    async with assembled(tmp_path, clock, text) as gateway:
        refuse(gateway, "small")
        gateway.fake("big").runs_for = 5.0
        task = start(gateway)
        await gateway.until_asked("big")
        await gateway.inner.dispatcher.reinstate(gateway.inner.active)
        for model in ("chat", "long"):
            assert await left(gateway, f"model:{model}", "concurrent", "", 3) == 2
        await gateway.until_done([task], step=1.0)
        for model in ("chat", "long"):
            assert await left(gateway, f"model:{model}", "concurrent", "", 3) == 3


async def test_what_a_dead_gateway_left_counts_in_the_larger_model(
    tmp_path: Path, clock: FakeClock
) -> None:
    """Its row was open: it is settled at what was held, in the limits of all."""
    text = limited(A_CENT, chat="spend: 1 USD/day", long="spend: 1 USD/day")
    async with assembled(tmp_path, clock, text) as gateway:
        refuse(gateway, "small")
        gateway.fake("big").runs_for = 50.0
        task = start(gateway)
        await gateway.until_asked("big")
        [left_open] = await gateway.inner.ledger.open_rows()
        assert left_open.at_model is not None
        task.cancel()
        await gateway.until_done([task], step=1.0)
    other = tmp_path / "other"
    other.mkdir()
    async with assembled(other, clock, text) as gateway:
        await gateway.inner.ledger.open(left_open)
    async with assembled(other, clock, text) as gateway:
        assert (await gateway.row(left_open.id)).outcome == "interrupted"
        assert [await spent(gateway, model) for model in ("chat", "long")] == [CENT, CENT]
