"""The bridge: what reaches the client's socket, in which order, and what a break looks like."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from adapters.errors import BackendError, FailureClass
from adapters.openai.backend import OpenAISettings
from adapters.settings import Secret
from adapters.types import Chunk, Reply, Usage
from gateway.api.answers.relay import Relay
from gateway.api.requests.request import RequestContext
from gateway.backends.redaction import Redactor
from gateway.calls.ending import StopCause
from gateway.calls.state import CallState
from gateway.calls.stream import SettledStream
from gateway.clock import FakeClock
from gateway.storage.base import Claim
from tests.gateway.assembled import POLICY, AssembledGateway, assembled

DONE = Chunk(b"data: [DONE]\n\n", "done")
WORD = Chunk(b'data: {"choices":[{"delta":{"content":"a"}}]}\n\n')
USED = Usage(exec_s=2.0, input_tokens=3, output_tokens=2, reported=True)
COMPLETIONS = POLICY.replace(
    "  any: {task: infer", "  old: {task: completions, backends: [burst]}\n  any: {task: infer"
)


class Socket:
    """Takes what is sent; ``breaks_at`` makes it fail at its n-th message."""

    def __init__(self, breaks_at: int = 10**9) -> None:
        self.messages: list[dict[str, Any]] = []
        self.breaks_at = breaks_at
        self.after: Callable[[int], None] = lambda _: None

    async def send(self, message: Any) -> None:
        if len(self.messages) >= self.breaks_at:
            raise ConnectionResetError("the peer is gone")
        self.messages.append(message)
        self.after(len(self.messages))
        await asyncio.sleep(0)

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.messages)

    @property
    def complete(self) -> bool:
        return not self.messages[-1].get("more_body", False)

    @property
    def headers(self) -> dict[str, str]:
        found: list[tuple[bytes, bytes]] = self.messages[0]["headers"]
        return {name.decode(): value.decode() for name, value in found}


async def carry(
    gateway: AssembledGateway,
    socket: Socket,
    model: str = "far",
    *,
    stream: bool = True,
    usage: bool = True,
    begun: Callable[[CallState], None] = lambda _: None,
) -> CallState:
    """``begun`` is told of the call before it is asked."""
    state = gateway.call_state(model, stream=stream)
    begun(state)
    answer = await gateway.ask(state)
    context = RequestContext(
        request_id=state.call.id, path="/", headers={}, received=0.0, received_at=0.0
    )
    relay, now = (
        Relay(state, context, socket.send, gateway.inner.dispatcher.slow_clients),
        gateway.clock.monotonic(),
    )
    if isinstance(answer, SettledStream):
        await relay.stream(answer, show_usage=usage, now=now)
    else:
        await relay.whole(answer, now)
    return state


async def nothing_is_held(gateway: AssembledGateway) -> None:
    claim = Claim("user:alice", "concurrent", "", 100, 1)
    [status] = await gateway.inner.shared.statuses([claim])
    assert status.remaining == 100
    assert all(each.in_flight == 0 for each in gateway.inner.active.backends.values())


async def test_a_whole_answer_is_passed_on_byte_for_byte_with_its_price(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock) as gateway:
        body = b'{"any": \xc3\xa9,  "order":1}'
        gateway.fake("burst").tell(Reply(body=body, content_type="text/plain", usage=USED))
        socket = Socket()
        state = await carry(gateway, socket, stream=False)
        assert socket.body == body
        assert socket.headers["content-type"] == "text/plain"
        assert socket.headers["content-length"] == str(len(body))
        assert float(socket.headers["x-spillgate-cost"]) == state.cost_nano / 1e9 == 0.002


async def test_the_end_marker_leaves_only_after_the_call_is_settled(
    tmp_path: Path, clock: FakeClock
) -> None:
    """Whoever saw it can rely on the row."""
    async with assembled(tmp_path, clock) as gateway:
        gateway.fake("burst").tell([WORD, Chunk(b"", "usage", USED), DONE])
        socket = Socket()
        settled: list[bool] = []
        states: list[CallState] = []
        socket.after = lambda _: settled.append(bool(states and states[0].ending))
        await carry(gateway, socket, begun=states.append)
        assert settled == [False, False, True]
        assert socket.body.endswith(b"data: [DONE]\n\n")
        assert socket.complete


@pytest.mark.parametrize(
    ("model", "kind"), [("far", "chat.completion.chunk"), ("old", "text_completion")]
)
async def test_usage_that_was_asked_for_and_not_sent_is_made_from_what_is_known(
    model: str, kind: str, tmp_path: Path, clock: FakeClock
) -> None:
    """In the shape that the task has at OpenAI, with the price."""
    async with assembled(tmp_path, clock, COMPLETIONS) as gateway:
        last = Chunk(WORD.data, "data", USED)
        gateway.fake("burst").tell([WORD, last, DONE])
        socket = Socket()
        await carry(gateway, socket, model)
        event = json.loads(socket.body.split(b"\n\n")[-3].removeprefix(b"data: "))
        assert (event["object"], event["choices"]) == (kind, [])
        assert event["usage"] == {
            "prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5, "cost": 0.002,
        }  # fmt: skip


async def test_usage_that_nobody_knows_is_not_invented(tmp_path: Path, clock: FakeClock) -> None:
    async with assembled(tmp_path, clock) as gateway:
        gateway.fake("burst").tell([WORD, DONE])
        socket = Socket()
        await carry(gateway, socket)
        assert socket.body == WORD.data + DONE.data


@pytest.mark.parametrize("event", [b"data: {broken\n\n", b"data: {}\n\n", b'data: {"usage":1}\n\n'])
async def test_a_usage_event_that_cannot_be_read_is_passed_on_as_it_is(
    event: bytes, tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock) as gateway:
        gateway.fake("burst").tell([WORD, Chunk(event, "usage", USED), DONE])
        socket = Socket()
        await carry(gateway, socket)
        assert socket.body == WORD.data + event + DONE.data


async def test_a_key_that_a_backend_repeats_in_pieces_becomes_stars_however_the_stream_ends(
    tmp_path: Path, clock: FakeClock
) -> None:
    """The place at which a piece is held back is no place for an end to lose it."""
    settings = OpenAISettings(base_url="http://h", api_key=Secret("fake-key"))
    async with assembled(tmp_path, clock) as gateway:
        gateway.inner.active.backends["burst"].redactor = Redactor(settings)
        for last in (DONE, BackendError(FailureClass.TRUNCATED, "it broke off")):
            pieces = [Chunk(b"data: a fake-k"), Chunk(b"ey\n\n"), Chunk(b"data: fake"), last]
            gateway.fake("burst").tell(pieces)
            socket = Socket()
            await carry(gateway, socket, usage=False)
            assert socket.body.startswith(b"data: a ***\n\ndata: fakedata: ")
            assert socket.complete


async def test_a_break_ends_in_an_error_event_and_no_end_marker(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock) as gateway:
        gateway.fake("burst").tell([WORD, BackendError(FailureClass.TRUNCATED, "it broke off")])
        socket = Socket()
        state = await carry(gateway, socket)
        event = socket.body.removeprefix(WORD.data)
        error = json.loads(event.removeprefix(b"data: "))["error"]
        assert (error["code"], error["message"]) == ("backend_truncated", "it broke off")
        assert b"[DONE]" not in socket.body
        assert (await gateway.row(state.call.id)).outcome == "error"
        await nothing_is_held(gateway)


@pytest.mark.parametrize("message", [0, 1, 2, 3])
async def test_a_socket_that_breaks_leaves_nothing_held_and_the_call_settled(
    message: int, tmp_path: Path, clock: FakeClock
) -> None:
    """At the head, at a chunk, at the last one: the server says so by an exception."""
    async with assembled(tmp_path, clock) as gateway:
        gateway.fake("burst").tell([WORD, WORD, Chunk(b"", "usage", USED), DONE])
        with pytest.raises(ConnectionResetError):
            await carry(gateway, Socket(breaks_at=message))
        row = await gateway.row("req_1")
        assert row.outcome == ("success" if message == 3 else "error")
        await nothing_is_held(gateway)


async def test_an_adapter_that_raises_what_it_must_not_leaves_nothing_held(
    tmp_path: Path, clock: FakeClock
) -> None:
    """One that somebody else wrote, say: its fault is logged, and the call is over."""

    async def broken() -> AsyncIterator[Chunk]:
        yield WORD
        raise KeyError("choices")

    async with assembled(tmp_path, clock) as gateway:
        gateway.fake("burst").tell(Reply(chunks=broken(), content_type="text/event-stream"))
        socket = Socket()
        with pytest.raises(KeyError):
            await carry(gateway, socket)
        row = await gateway.row("req_1")
        assert (row.outcome, row.status, row.error) == ("error", 500, "internal_error")
        assert b"[DONE]" not in socket.body
        assert not socket.complete
        await nothing_is_held(gateway)


async def stopped_in_the_middle(
    gateway: AssembledGateway, cause: StopCause, socket: Socket
) -> tuple[CallState, asyncio.Task[CallState]]:
    """A stream whose client has been sent one piece, and which is stopped then."""
    reached = asyncio.Event()

    async def slow() -> AsyncIterator[Chunk]:
        yield WORD
        reached.set()
        await asyncio.Event().wait()

    gateway.fake("burst").tell(Reply(chunks=slow(), content_type="text/event-stream"))
    states: list[CallState] = []

    async def run() -> CallState:
        return await carry(gateway, socket, begun=states.append)

    task = asyncio.ensure_future(run())
    await reached.wait()
    if cause:
        states[0].stop(cause)
    else:
        task.cancel()
    await asyncio.wait([task])
    return states[0], task


@pytest.mark.parametrize(
    ("cause", "code", "cancelled"),
    [("budget", "budget_exhausted", False), ("", "shutting_down", True)],
)
async def test_a_stream_that_is_stopped_ends_in_an_error_event_with_what_it_cost(
    cause: StopCause, code: str, cancelled: bool, tmp_path: Path, clock: FakeClock
) -> None:
    """The request goes on where it was for the budget, and ends as cancelled with the server."""
    async with assembled(tmp_path, clock) as gateway:
        socket = Socket()
        state, task = await stopped_in_the_middle(gateway, cause, socket)
        assert task.cancelled() == cancelled
        event = json.loads(socket.body.removeprefix(WORD.data).removeprefix(b"data: "))
        assert event["error"]["code"] == code
        assert event["usage"]["cost"] == state.cost_nano / 1e9
        assert socket.complete
        await nothing_is_held(gateway)


async def test_a_client_who_hung_up_is_told_nothing_more(tmp_path: Path, clock: FakeClock) -> None:
    async with assembled(tmp_path, clock) as gateway:
        socket = Socket()
        state, task = await stopped_in_the_middle(gateway, "disconnected", socket)
        assert task.cancelled()
        assert socket.body == WORD.data
        assert not socket.complete
        assert (await gateway.row(state.call.id)).outcome == "disconnected"
        await nothing_is_held(gateway)
