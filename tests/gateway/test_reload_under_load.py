"""Backends whose settings a reload changes, while calls are on their way to them."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest

from adapters.fake import Fake
from adapters.types import Chunk, Reply
from gateway.api.calls.call_requests import serve
from gateway.api.requests.request import ParsedRequest, RequestContext
from gateway.calls.stream import SettledStream
from gateway.clock import FakeClock, settle
from tests.gateway.assembled import ALICE, POLICY, AssembledGateway, assembled, read
from tests.waiting import until


def changed(number: int, text: str = POLICY) -> str:
    """Another number of slots for each backend."""
    return text.replace("slots: 2", f"slots: {number + 3}").replace(
        "    kind: fake\n", f"    kind: fake\n    slots: {number + 5}\n"
    )


async def closed(gateway: AssembledGateway, fake: Fake) -> None:
    async def is_closed() -> bool:
        await gateway.clock.advance(0.25)
        return fake.closed

    await until(is_closed, "the old one is closed", every_s=0.001)


async def test_a_call_that_was_sent_ends_where_it_was_sent(
    tmp_path: Path, clock: FakeClock
) -> None:
    """The old adapter is closed after its last call."""
    async with assembled(tmp_path, clock) as gateway:
        old = gateway.fake("home")
        old.runs_for = 30.0
        _, task = gateway.start()
        await gateway.until_asked("home")
        await gateway.inner.apply(read(changed(0)))
        await clock.advance(29.0)
        assert not old.closed
        await clock.advance(1.0)
        assert isinstance(await task, Reply)
        await closed(gateway, old)
        assert gateway.fake("home").calls == []


async def test_a_stream_that_has_begun_ends_where_it_began(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock) as gateway:
        old = gateway.fake("home")
        old.tell([Chunk(b"data: 1\n\n"), Chunk(b"data: [DONE]\n\n", "done")])
        answer = await gateway.ask(gateway.call_state(stream=True))
        assert isinstance(answer, SettledStream)
        await gateway.inner.apply(read(changed(0)))
        await clock.advance(5.0)
        assert not old.closed
        async with answer:
            assert b"".join([piece async for piece in answer]) == b"data: 1\n\n"
        await closed(gateway, old)


async def test_a_call_that_is_not_sent_yet_goes_to_the_new_one(
    tmp_path: Path, clock: FakeClock
) -> None:
    """Its row was on its way to the disk when the policy changed."""
    async with assembled(tmp_path, clock) as gateway:
        old = gateway.fake("burst")
        _, task = gateway.start("far")
        await asyncio.sleep(0)
        await gateway.inner.apply(read(changed(0)))
        await task
        assert (len(old.calls), len(gateway.fake("burst").calls)) == (0, 1)


async def test_calls_in_line_go_to_the_new_one(tmp_path: Path, clock: FakeClock) -> None:
    """Those that were sent end where they are."""
    text = POLICY.replace("slots: 2,", "slots: 2, concurrency: 1,").replace("slo: 2s", "slo: 99s")
    async with assembled(tmp_path, clock, text) as gateway:
        old = gateway.fake("home")
        old.runs_for = 5.0
        calls = [gateway.start()[1] for _ in range(4)]
        await gateway.until_asked("home")
        await gateway.inner.apply(read(changed(0, text).replace("concurrency: 1,", "")))
        await settle()
        new = gateway.fake("home")
        assert (len(old.calls), len(new.calls)) == (1, 3)
        await clock.advance(5.0)
        await asyncio.gather(*calls)


async def test_a_call_waits_on_where_the_new_one_takes_none_yet(
    tmp_path: Path, clock: FakeClock
) -> None:
    """Its workers are still starting: the old ones serve the line."""
    text = POLICY.replace("slots: 2,", "slots: 2, concurrency: 1,").replace("slo: 2s", "slo: 99s")
    async with assembled(tmp_path, clock, text) as gateway:
        old = gateway.fake("home")
        old.runs_for = 5.0
        calls = [gateway.start()[1] for _ in range(2)]
        await gateway.until_asked("home")
        await gateway.inner.apply(read(text.replace("slots: 2,", "slots: 0,")))
        for _ in range(2):
            await clock.advance(5.0)
        await asyncio.gather(*calls)
        assert len(old.calls) == 2
        await closed(gateway, old)


async def test_a_call_stays_with_the_price_that_was_quoted(
    tmp_path: Path, clock: FakeClock
) -> None:
    """The new one is dearer: the old one is kept open for the call."""
    async with assembled(tmp_path, clock) as gateway:
        old = gateway.fake("burst")
        state, task = gateway.start("far")
        old.runs_for = 1.0
        await asyncio.sleep(0)
        await gateway.inner.apply(read(changed(0).replace("per_second: 0.001", "per_second: 0.1")))
        await clock.advance(1.0)  # as long as the old one may be thought idle
        await gateway.until_done([task], 0.25)
        assert len(old.calls) == 1
        assert (await gateway.row(state.call.id)).cost_nano == 1_000_000


@pytest.mark.parametrize("model", ["chat", "far"])
async def test_no_call_is_lost_however_often_the_policy_changes(
    model: str, tmp_path: Path, clock: FakeClock
) -> None:
    text = POLICY.replace("concurrent: 100,", "concurrent: 1000,")
    async with assembled(tmp_path, clock, text) as gateway:
        tasks = []
        for number in range(40):
            tasks += [gateway.start(model)[1] for _ in range(5)]
            await asyncio.sleep(0)
            await gateway.inner.apply(read(changed(number, text)))
        await gateway.until_done(tasks, 0.25)
        assert [task.exception() for task in tasks] == [None] * 200


# --- the end of the gateway ----------------------------------------------------------------------


async def test_a_whole_call_that_the_end_of_the_server_cuts_gets_the_one_shape_of_error(
    tmp_path: Path, clock: FakeClock
) -> None:
    """With its price: what it has used is charged."""
    async with assembled(tmp_path, clock) as gateway:
        gateway.fake("home").runs_for = 60.0
        context = RequestContext(
            request_id="req_cut",
            path="/v1/chat/completions",
            headers={},
            received=clock.monotonic(),
            received_at=clock.time(),
        )
        context.principal = ALICE
        sent: list[Any] = []

        async def receive() -> Any:
            await asyncio.Event().wait()
            raise AssertionError("unreachable")

        async def send(message: Any) -> None:
            sent.append(message)

        parsed = ParsedRequest("chat", "chat", b"{}", False, False, 0)
        task = asyncio.create_task(serve(gateway.inner, context, parsed, receive, send))
        await gateway.until_asked("home")
        await clock.advance(2.0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        head, body = sent
        headers = dict(head["headers"])
        assert head["status"] == 503
        assert headers[b"x-spillgate-cost"] == b"0.002"
        error = msgspec.json.decode(body["body"])["error"]
        assert (error["code"], error["type"]) == ("shutting_down", "api_error")
