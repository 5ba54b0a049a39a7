"""Until the first token of a stream another backend may still be asked."""

from __future__ import annotations

from pathlib import Path

import pytest

from adapters.errors import BackendError
from adapters.types import Chunk, Usage
from gateway.calls.state import CallState
from gateway.calls.stream import SettledStream
from gateway.clock import FakeClock
from tests.gateway.assembled import AssembledGateway, assembled
from tests.gateway.calls.test_failover import F, policy


async def begun(gateway: AssembledGateway) -> tuple[CallState, SettledStream]:
    """A streamed call, first asked of the first backend, whose answer has begun."""
    state, task = gateway.start(stream=True)
    await gateway.until_asked("first")
    await gateway.until_done([task], step=0.5)
    stream = task.result()
    assert isinstance(stream, SettledStream)
    return state, stream


async def test_a_first_token_that_does_not_come_in_time_is_a_failure_of_the_backend(
    tmp_path: Path, clock: FakeClock
) -> None:
    """The call itself is not broken off."""
    async with assembled(tmp_path, clock, policy(route=", first_token: 2s")) as gateway:
        gateway.fake("first").runs_for = 100.0
        gateway.fake("second").tell([Chunk(b"data: {}\n\n")])
        state, stream = await begun(gateway)
        async with stream:
            assert [piece async for piece in stream] == [b"data: {}\n\n"]
        assert [(one.backend, one.slug) for one in state.tried] == [("first", "timeout")]
        assert gateway.fake("first").running == 0


ROLE = (
    b'data: {"choices":[{"index":0,"delta":{"role":"assistant","content":""},'
    b'"finish_reason":null}]}'
)


async def test_a_stream_that_says_who_speaks_and_then_nothing_has_not_begun(
    tmp_path: Path, clock: FakeClock
) -> None:
    """The caller sees one stream, from its first event on."""
    async with assembled(tmp_path, clock, policy()) as gateway:
        role, token = Chunk(ROLE + b"\n\n", tokens=0), Chunk(b"data: {}\n\n")
        gateway.fake("first").tell([role, BackendError(F.TRUNCATED, "it broke off")])
        gateway.fake("second").tell([role, token])
        state = gateway.call_state(stream=True)
        stream = await gateway.ask(state)
        assert isinstance(stream, SettledStream)
        async with stream:
            assert [piece async for piece in stream] == [role.data, token.data]
        assert [one.slug for one in state.tried] == ["truncated"]


@pytest.mark.parametrize(
    "nothing",
    [
        [Chunk(ROLE + b"\n\n", tokens=0)],
        [Chunk(ROLE.replace(b"\n", b"\r\n") + b"\r\n\r\n" + ROLE + b"\n\n", tokens=0)],
        [Chunk(b'data: {"choices":[]}\n\n', "usage", Usage(input_tokens=1, output_tokens=0))],
        [Chunk(b": wait\n\n", tokens=0)] * 9,
    ],
    ids=["a role", "two roles", "usage", "comments"],
)
async def test_what_holds_no_token_is_no_beginning(
    nothing: list[Chunk], tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock, policy()) as gateway:
        gateway.fake("first").tell([*nothing, BackendError(F.TRUNCATED, "it broke off")])
        gateway.fake("second").tell([Chunk(b"data: {}\n\n")])
        state = gateway.call_state(stream=True)
        stream = await gateway.ask(state)
        assert isinstance(stream, SettledStream)
        async with stream:
            assert [piece async for piece in stream] == [b"data: {}\n\n"]
        assert [(one.slug, one.cost_nano) for one in state.tried] == [("truncated", 0)]


PINGS = {
    "comments": b": wait",
    "roles": ROLE,
    "empty pieces": b'data: {"choices":[{"index":0,"delta":{"content":""}}]}',
    "named pings": b'event: ping\ndata: {"type":"ping"}',
}


@pytest.mark.parametrize("ping", PINGS.values(), ids=PINGS)
async def test_what_holds_no_token_passes_no_bound_however_often_it_comes(
    ping: bytes, tmp_path: Path, clock: FakeClock
) -> None:
    """Nor does it grow in memory."""
    async with assembled(tmp_path, clock, policy(route=", first_token: 2s")) as gateway:
        first = gateway.fake("first")
        first.tell([Chunk(ping + b"\n\n", tokens=0)] * 1000)
        first.pace = 0.1
        gateway.fake("second").tell([Chunk(b"data: {}\n\n")])
        first.runs_for = 0.1
        state, stream = await begun(gateway)
        async with stream:
            assert [piece async for piece in stream] == [b"data: {}\n\n"]
        assert [(one.backend, one.slug) for one in state.tried] == [("first", "timeout")]


async def test_of_what_holds_no_token_only_the_first_is_kept_for_the_caller(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock, policy()) as gateway:
        waits, token = Chunk(b": wait\n\n", tokens=0), Chunk(b"data: {}\n\n")
        gateway.fake("first").tell([*[waits] * 1000, token])
        stream = await gateway.ask(gateway.call_state(stream=True))
        assert isinstance(stream, SettledStream)
        async with stream:
            pieces = [piece async for piece in stream]
        assert len(pieces) < 100
        assert pieces[-1] == b"data: {}\n\n"


COLD = (
    policy(route=", first_token: 2s")
    .replace(
        "first: {kind: fake,",
        "first: {kind: fake, cold_start: {p50: 5s, p95: 9s}, idle_timeout: 60s,",
    )
    .replace("slo: 5s", "slo: 60s")
)


@pytest.mark.parametrize(("starts_s", "tried"), [(10.0, []), (14.0, ["first"])])
async def test_a_start_that_was_expected_comes_before_the_time_of_the_first_token(
    starts_s: float, tried: list[str], tmp_path: Path, clock: FakeClock
) -> None:
    """It was weighed when the backend was chosen: nine seconds, and two for the token."""
    async with assembled(tmp_path, clock, COLD) as gateway:
        for name in ("first", "second"):
            gateway.fake(name).tell([Chunk(b"data: {}\n\n")])
        gateway.fake("first").cold_s = starts_s
        state, stream = await begun(gateway)
        async with stream:
            assert [piece async for piece in stream] == [b"data: {}\n\n"]
        assert [one.backend for one in state.tried] == tried


async def test_a_platform_without_room_is_left_when_the_time_of_the_first_token_is_over(
    tmp_path: Path, clock: FakeClock
) -> None:
    """It is said not to have begun."""
    async with assembled(tmp_path, clock, policy(route=", first_token: 2s")) as gateway:
        gateway.fake("first").queues_for = 100.0
        gateway.fake("second").tell([Chunk(b"data: {}\n\n")])
        state, stream = await begun(gateway)
        await stream.drop()
        assert [(one.backend, one.slug) for one in state.tried] == [("first", "not_started")]
