"""A prompt that is too long for a model goes on to the larger one that the policy names."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from adapters.errors import BackendError, FailureClass
from adapters.types import Chunk, Reply, Usage
from gateway.calls.stream import SettledStream
from gateway.clock import FakeClock
from gateway.preferences import Preferences
from gateway.types import ApiError, Permitted
from tests.gateway.assembled import ALICE, AssembledGateway, assembled

POLICY = """
version: 1
server: {tls: "off", access_log: false}
backends:
  small: {kind: fake, price: cheap}
  big: {kind: fake, price: dear}
  huge: {kind: fake, price: dear}
models:
  chat: {task: chat, backends: [small], larger: long}
  long: {task: chat, backends: [big], larger: longest}
  longest: {task: chat, backends: [huge]}
  alone: {task: chat, backends: [small]}
prices:
  cheap: {per_million_input: 1, per_million_output: 1, as_of: 2026-11-01, source: test}
  dear: {per_million_input: 1000, per_million_output: 1000, as_of: 2026-11-01, source: test}
routes:
  - {name: all, use: [small, big, huge], order: listed%s}
plans:
  default: {spend: 5 USD/month}
  poor: {spend: 0.001 USD/month}
"""
BODY = b'{"temperature": 0.10, "model": "chat", "messages": []}'
TOO_LONG = BackendError(
    FailureClass.CONTEXT_TOO_LONG, "too many tokens", status=400, code="context_length_exceeded"
)
USED = Usage(input_tokens=1000, output_tokens=10, exec_s=1.0, reported=True)
ANSWER = Reply(body=b'{"ok": true}', usage=USED)
NANO_A_BYTE = 1000 * 1000
"""What is held for: no text is more tokens than bytes."""


def policy(route: str = "") -> str:
    return POLICY % route


def refuse(gateway: AssembledGateway, *backends: str) -> None:
    for name in backends:
        gateway.fake(name).answers = lambda _: TOO_LONG
    gateway.fake("huge" if "big" in backends else "big").answers = lambda _: ANSWER


def asked(gateway: AssembledGateway) -> list[int]:
    return [len(gateway.fake(name).calls) for name in ("small", "big", "huge")]


async def refused(gateway: AssembledGateway, **options: object) -> ApiError:
    state = gateway.call_state(body=BODY, **options)  # type: ignore[arg-type]
    with pytest.raises(ApiError) as caught:
        await gateway.ask(state)
    assert state.call.model == state.asked_model
    row = await gateway.row(state.call.id)
    assert (row.model, row.cost_nano, row.error) == ("chat", 0, "context_length_exceeded")
    return caught.value


async def test_the_call_is_one_of_the_model_that_answered(tmp_path: Path, clock: FakeClock) -> None:
    """In its row, at its price, held for before it was asked."""
    async with assembled(tmp_path, clock, policy()) as gateway:
        refuse(gateway, "small")
        state = gateway.call_state(body=BODY)
        assert (await gateway.ask(state)) == ANSWER
        row = await gateway.row(state.call.id)
        assert (row.model, row.backend, row.reason, row.price) == (
            "long",
            "big",
            "FAILOVER",
            "dear",
        )
        assert row.cost_nano == state.cost_nano == await gateway.spent() == 1_010_000_000
        assert row.hold_nano >= NANO_A_BYTE * len(gateway.fake("big").calls[0].body)
        assert row.history is not None
        assert [one.backend for one in row.history.attempts] == ["small"]


async def test_the_backend_is_asked_for_that_model_and_for_nothing_else_that_is_new(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock, policy()) as gateway:
        refuse(gateway, "small")
        await gateway.ask(gateway.call_state(body=BODY))
        [call] = gateway.fake("big").calls
        assert (call.model, call.id) == ("long", gateway.fake("small").calls[0].id)
        assert call.body.startswith(b'{"temperature":0.10')
        assert msgspec.json.decode(call.body) == {**msgspec.json.decode(BODY), "model": "long"}


async def test_an_answer_without_a_bound_has_that_which_is_held_for(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock, policy()) as gateway:
        refuse(gateway, "small")
        unbounded = Preferences(None, None, 100, unbounded=1)
        state = gateway.call_state(body=BODY, preferences=unbounded)
        await gateway.ask(state)
        [call] = gateway.fake("big").calls
        assert b":100" in call.body
        assert b'"model":"long"' in call.body
        assert (await gateway.row(state.call.id)).hold_nano >= NANO_A_BYTE * 100


async def test_from_larger_to_larger(tmp_path: Path, clock: FakeClock) -> None:
    async with assembled(tmp_path, clock, policy()) as gateway:
        refuse(gateway, "small", "big")
        state = gateway.call_state(body=BODY)
        await gateway.ask(state)
        assert (asked(gateway), state.call.model) == ([1, 1, 1], "longest")


async def test_a_stream_goes_on_before_its_first_token(tmp_path: Path, clock: FakeClock) -> None:
    async with assembled(tmp_path, clock, policy()) as gateway:
        refuse(gateway, "small")
        gateway.fake("big").answers = lambda _: [Chunk(b"data: {}\n\n", usage=USED)]
        state = gateway.call_state(body=BODY, stream=True)
        stream = await gateway.ask(state)
        assert isinstance(stream, SettledStream)
        async with stream:
            assert [piece async for piece in stream] == [b"data: {}\n\n"]
        row = await gateway.row(state.call.id)
        assert (row.model, row.cost_nano) == ("long", 1_010_000_000)


async def test_the_answer_says_which_model_gave_it(tmp_path: Path, clock: FakeClock) -> None:
    async with assembled(tmp_path, clock, policy()) as gateway, gateway.client() as client:
        said = [{"role": "user", "content": "hi"}]
        body = {"model": "chat", "messages": said, "max_tokens": 1}
        gateway.fake("small").answers = lambda _: ANSWER
        first = await client.post("/v1/chat/completions", json=body)
        assert "x-spillgate-model" not in first.headers
        refuse(gateway, "small")
        second = await client.post("/v1/chat/completions", json=body)
        assert second.headers["x-spillgate-model"] == "long"
        assert second.headers["x-spillgate-cost"] == "1.01"


# --- where it may not -----------------------------------------------------------------------------


async def test_where_the_limits_have_no_room_for_it_the_caller_is_told(
    tmp_path: Path, clock: FakeClock
) -> None:
    """And what was held is given back."""
    async with assembled(tmp_path, clock, policy()) as gateway:
        refuse(gateway, "small")
        poor = msgspec.structs.replace(ALICE, plan="poor")
        for _ in range(2):
            error = await refused(gateway, principal=poor)
            assert error.code == "context_length_exceeded"
            assert "the budget has no room" in error.message
        assert asked(gateway) == [2, 0, 0]
        row = await gateway.row("req_1")
        assert row.history is not None
        assert row.history.not_asked == (("big", "budget"),)
        gateway.fake("small").answers = lambda _: ANSWER
        await gateway.ask(gateway.call_state(body=BODY, principal=poor))


@pytest.mark.parametrize(
    "route",
    [", max_price: 0.001", ", retries: {attempts: 1}", ", retries: {on: [unreachable]}"],
)
async def test_where_the_route_does_not_allow_it_the_caller_is_told(
    route: str, tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock, policy(route)) as gateway:
        refuse(gateway, "small")
        error = await refused(gateway)
        assert (error.status, error.code) == (400, "context_length_exceeded")
        assert asked(gateway) == [1, 0, 0]


async def test_where_the_larger_one_is_not_there_the_caller_is_told(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock, policy()) as gateway:
        refuse(gateway, "small")
        gateway.inner.active.backends["big"].draining = True
        assert (await refused(gateway)).code == "context_length_exceeded"


@pytest.mark.parametrize("failure", [FailureClass.TOO_LARGE, FailureClass.FAILED], ids=str)
async def test_no_other_failure_leads_to_another_model(
    failure: FailureClass, tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock, policy()) as gateway:
        gateway.fake("small").answers = lambda _: BackendError(failure, "no")
        with pytest.raises(ApiError):
            await gateway.ask(gateway.call_state(body=BODY))
        assert asked(gateway) == [1, 0, 0]


async def test_what_becomes_of_it_there_is_what_the_caller_is_told(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock, policy()) as gateway:
        refuse(gateway, "small")
        gateway.fake("big").answers = lambda _: BackendError(FailureClass.FAILED, "it broke")
        state = gateway.call_state(body=BODY)
        with pytest.raises(ApiError) as caught:
            await gateway.ask(state)
        assert caught.value.code == "backend_failed"
        row = await gateway.row(state.call.id)
        assert (row.model, row.backend, row.cost_nano) == ("long", "big", 0)


@pytest.mark.parametrize("models", [("chat",), ("chat", "long")], ids=["one", "both"])
async def test_a_key_that_is_not_for_the_larger_one_is_told_so(
    models: tuple[str, ...], tmp_path: Path, clock: FakeClock
) -> None:
    """As if there were none: it gets nothing that it may not name."""
    bound = msgspec.structs.replace(ALICE, permitted=Permitted(models=models))
    async with assembled(tmp_path, clock, policy()) as gateway:
        refuse(gateway, "small")
        if "long" in models:
            assert await gateway.ask(gateway.call_state(body=BODY, principal=bound)) == ANSWER
        else:
            assert (await refused(gateway, principal=bound)).code == "context_length_exceeded"
        assert asked(gateway) == [1, len(models) - 1, 0]
