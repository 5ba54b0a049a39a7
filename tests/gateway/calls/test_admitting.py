"""A cap is a cap: what is held before a call bounds what it may spend."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from adapters.errors import BackendError
from adapters.types import Call, Chunk, Reply, Usage
from gateway.clock import FakeClock
from gateway.money.inputs import InputParts
from gateway.preferences import Preferences
from gateway.types import ApiError
from tests.gateway.assembled import AssembledGateway, assembled
from tests.gateway.token_budgets import SPENDS_TOKENS

POLICY = SPENDS_TOKENS
"""A thousand tokens of output are a dollar."""

BODY = b'{"model": "chat", "messages": [{"role": "user", "content": "tell me everything"}]}'
UNBOUNDED = Preferences(None, None, 4000, 1)


def writes_all_it_may(call: Call) -> Reply:
    """An engine without an end of its own, but for the bound that it is told."""
    most = json.loads(call.body).get("max_tokens", 30_000)
    usage = Usage(input_tokens=20, output_tokens=most, exec_s=1.0, reported=True)
    return Reply(body=b'{"ok": true}', usage=usage)


async def spent(gateway: AssembledGateway) -> float:
    return await gateway.spent() / 1e9


async def test_an_answer_without_a_bound_is_given_what_the_budget_reaches_for(
    tmp_path: Path, clock: FakeClock
) -> None:
    """Eight calls of four dollars each, by their model's bound, on a cap of one."""
    async with assembled(tmp_path, clock, POLICY) as gateway:
        gateway.fake("burst").answers = writes_all_it_may
        state = gateway.call_state(body=BODY, preferences=UNBOUNDED)
        await gateway.ask(state)
        assert json.loads(gateway.fake("burst").calls[0].body)["max_tokens"] == 1000
        assert state.output_bound == 1000
        for _ in range(7):
            with pytest.raises(ApiError, match="has 0"):
                await gateway.ask(gateway.call_state(body=BODY, preferences=UNBOUNDED))
        assert await spent(gateway) == 1.0


async def test_an_answer_is_never_given_more_than_its_model_may_write(
    tmp_path: Path, clock: FakeClock
) -> None:
    text = POLICY.replace("1 USD/month", "9 USD/month")
    async with assembled(tmp_path, clock, text) as gateway:
        gateway.fake("burst").answers = writes_all_it_may
        await gateway.ask(gateway.call_state(body=BODY, preferences=UNBOUNDED))
        await gateway.ask(gateway.call_state(body=BODY, preferences=UNBOUNDED))
        await gateway.ask(gateway.call_state(body=BODY, preferences=UNBOUNDED))
        bounds = [json.loads(call.body)["max_tokens"] for call in gateway.fake("burst").calls]
        assert bounds == [4000, 4000, 1000]
        assert await spent(gateway) == 9.0


async def test_several_answers_share_what_the_budget_reaches_for(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock, POLICY) as gateway:
        wanted = Preferences(None, None, 16_000, 4)
        await gateway.ask(gateway.call_state(body=BODY, preferences=wanted))
        assert json.loads(gateway.fake("burst").calls[0].body)["max_tokens"] == 250


async def test_a_caller_who_says_how_much_he_wants_gets_all_of_it_or_nothing(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock, POLICY) as gateway:
        with pytest.raises(ApiError) as caught:
            await gateway.ask(gateway.call_state(preferences=Preferences(None, None, 1001)))
        assert caught.value.code == "budget_exhausted"
        await gateway.ask(gateway.call_state(body=BODY, preferences=Preferences(None, None, 1000)))
        assert gateway.fake("burst").calls[0].body == BODY


async def test_nobody_is_sent_away_with_a_few_words(tmp_path: Path, clock: FakeClock) -> None:
    """Below sixteen tokens the call is refused."""
    text = POLICY.replace("1 USD/month", "0.015 USD/month")
    async with assembled(tmp_path, clock, text) as gateway:
        with pytest.raises(ApiError) as caught:
            await gateway.ask(gateway.call_state(body=BODY, preferences=UNBOUNDED))
        assert caught.value.code == "budget_exhausted"
        assert gateway.fake("burst").calls == []


async def test_what_others_have_left_is_not_told_by_the_length_of_an_answer(
    tmp_path: Path, clock: FakeClock
) -> None:
    text = POLICY.replace("spend: 1 USD/month", "shared: {spend: 1 USD/month}")
    async with assembled(tmp_path, clock, text) as gateway:
        with pytest.raises(ApiError) as caught:
            await gateway.ask(gateway.call_state(body=BODY, preferences=UNBOUNDED))
        assert caught.value.code == "budget_exhausted"


async def test_a_call_that_no_budget_limits_is_sent_as_it_came(
    tmp_path: Path, clock: FakeClock
) -> None:
    text = POLICY.replace(", spend: 1 USD/month", "")
    async with assembled(tmp_path, clock, text) as gateway:
        await gateway.ask(gateway.call_state(body=BODY, preferences=UNBOUNDED))
        assert gateway.fake("burst").calls[0].body == BODY


async def test_a_backend_is_told_in_the_field_that_it_reads(
    tmp_path: Path, clock: FakeClock
) -> None:
    text = POLICY.replace("price: tokens,", "price: tokens, output_bound: max_completion_tokens,")
    async with assembled(tmp_path, clock, text) as gateway:
        await gateway.ask(gateway.call_state(body=BODY, preferences=UNBOUNDED))
        told = json.loads(gateway.fake("burst").calls[0].body)
        assert told["max_completion_tokens"] == 1000
        assert "max_tokens" not in told


async def test_the_caller_is_told_the_bound(tmp_path: Path, clock: FakeClock) -> None:
    async with assembled(tmp_path, clock, POLICY) as gateway, gateway.client() as client:
        answer = await client.post("/v1/chat/completions", content=BODY)
        assert answer.headers["x-spillgate-max-tokens"] == "1000"
        own = await client.post("/v1/chat/completions", content=BODY[:-1] + b',"max_tokens":9}')
        assert "x-spillgate-max-tokens" not in own.headers


# --- streams ----------------------------------------------------------------------------------


def stream_of(tokens: int) -> Sequence[Chunk | BackendError]:
    """A server that does not heed its bound."""
    piece = b'data: {"choices":[{"index":0,"delta":{"content":"word "}}]}\n\n'
    return [Chunk(piece, "data", tokens=1) for _ in range(tokens)]


async def read_all(gateway: AssembledGateway, tokens: int, most: int) -> tuple[int, bytes]:
    gateway.fake("burst").tell(stream_of(tokens))
    state = gateway.call_state(stream=True, body=BODY, preferences=Preferences(None, None, most))
    answer = await gateway.ask(state)
    assert not isinstance(answer, Reply)
    pieces = 0
    try:
        async with answer:
            async for piece in answer:
                pieces += bool(piece)
    except BaseException:
        await answer.abandon()
    return pieces, answer.last(show_usage=False)


async def test_a_stream_that_passes_what_is_held_is_held_for_again(
    tmp_path: Path, clock: FakeClock
) -> None:
    text = POLICY.replace("1 USD/month", "2 USD/month")
    async with assembled(tmp_path, clock, text) as gateway:
        pieces, _ = await read_all(gateway, tokens=900, most=100)
        assert pieces == 900
        assert await spent(gateway) == 0.9


async def test_a_stream_that_passes_what_can_be_held_is_stopped_and_says_so(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock, POLICY) as gateway:
        pieces, last = await read_all(gateway, tokens=5000, most=100)
        assert 100 < pieces <= 1000
        assert b"budget_exhausted" in last
        assert b"[DONE]" not in last
        assert 0.1 < await spent(gateway) <= 1.0


# --- inputs -----------------------------------------------------------------------------------

INPUT = POLICY.replace("per_million_output: 1000", "per_million_input: 10")
PICTURE = Preferences(None, None, 0, 0, InputParts((("image", 1),)))


def reads(tokens: int) -> Reply:
    usage = Usage(input_tokens=tokens, output_tokens=0, exec_s=1.0, reported=True)
    return Reply(body=b"{}", usage=usage)


async def test_a_picture_is_held_by_what_is_declared_and_not_by_its_address(
    tmp_path: Path, clock: FakeClock
) -> None:
    """16,384 tokens at most, 16.4 cents each: six at once fit under a dollar."""
    async with assembled(tmp_path, clock, INPUT) as gateway:
        gateway.fake("burst").runs_for = 1.0
        gateway.fake("burst").answers = lambda _: reads(16_000)
        started = [gateway.start(body=b"x" * 130, preferences=PICTURE)[1] for _ in range(40)]
        await gateway.until_done(started, step=0.5)
        assert sum(task.exception() is None for task in started) == 6
        assert await spent(gateway) == pytest.approx(0.96)


async def test_the_first_call_of_a_kind_that_was_wrong_teaches_the_next(
    tmp_path: Path, clock: FakeClock
) -> None:
    text = INPUT.replace("slo: 2s", "slo: 2s, tokens_per: {image: 100}")
    async with assembled(tmp_path, clock, text) as gateway:
        gateway.fake("burst").answers = lambda _: reads(40_000)
        await gateway.ask(gateway.call_state(body=b"x" * 130, preferences=PICTURE))
        second = gateway.call_state(body=b"x" * 130, preferences=PICTURE)
        await gateway.ask(second)
        assert second.admission.hold_nano == 400_000_000
        with pytest.raises(ApiError):
            await gateway.ask(gateway.call_state(body=b"x" * 130, preferences=PICTURE))
        assert await spent(gateway) == 0.8


async def test_the_data_of_a_picture_is_not_taken_for_text(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock, INPUT) as gateway, gateway.client() as client:
        url = "data:image/png;base64," + "A" * 500_000
        part = {"type": "image_url", "image_url": {"url": url}}
        body = {"model": "chat", "messages": [{"role": "user", "content": [part]}]}
        answer = await client.post("/v1/chat/completions", json=body | {"max_tokens": 1})
        assert answer.status_code == 200


# --- a caller who leaves ----------------------------------------------------------------------


async def test_whoever_leaves_a_whole_answer_pays_for_what_was_probably_written(
    tmp_path: Path, clock: FakeClock
) -> None:
    """By how quickly such calls wrote before, and marked as an estimate."""
    text = POLICY.replace("1 USD/month", "5 USD/month")
    async with assembled(tmp_path, clock, text) as gateway:
        fake = gateway.fake("burst")
        fake.tell(Reply(body=b"{}", usage=Usage(input_tokens=0, output_tokens=100, exec_s=1.0)))
        await gateway.ask(gateway.call_state(body=BODY, preferences=Preferences(None, None, 1000)))
        fake.runs_for = 60.0
        state, task = gateway.start(body=BODY, preferences=Preferences(None, None, 1000))
        await gateway.until_asked("burst")
        await clock.advance(5.0)
        state.stop("disconnected")
        await gateway.until_done([task], step=0.1)
        await gateway.inner.dispatcher.background.drain()
        row = await gateway.row(state.call.id)
        assert row.output_tokens == row.exec_us // 10_000 >= 500
        assert row.cost_nano == row.output_tokens * 1_000_000
        assert row.cost_basis == "estimated"
