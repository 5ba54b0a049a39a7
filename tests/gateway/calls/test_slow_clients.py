"""Uploads that are not whole and answers that were not taken: calls in progress, and bytes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.types import Chunk
from gateway.api.calls.call_requests import serve
from gateway.api.requests.request import ParsedRequest, RequestContext
from gateway.calls.slow_clients import SMALL, SlowClients
from gateway.clock import FakeClock
from gateway.money.limits import compile_claims
from gateway.storage.claims import ClaimTemplate
from gateway.storage.memory import MemorySharedStore
from gateway.types import ApiError, Limit, Principal
from tests.gateway.assembled import ALICE, assembled, read
from tests.waiting import until

LARGE = SMALL + 1
POLICY = read()


def template(key: str = "k", at_once: int | None = None) -> ClaimTemplate:
    limits = () if at_once is None else (Limit("concurrent", at_once),)
    return compile_claims(Principal(key_id=key, user="u", limits=limits), POLICY)


def clients(*, per_key: int = 10**9, in_all: int = 10**9) -> SlowClients:
    return SlowClients(MemorySharedStore(FakeClock()), per_key=per_key, in_all=in_all)


async def code_of(work: object) -> str:
    try:
        await work  # type: ignore[misc]
    except ApiError as error:
        return error.code
    return ""


async def test_an_upload_is_a_call_in_progress_once_it_is_large() -> None:
    known, limited = clients(), template(at_once=1)
    with known.upload(limited) as first, known.upload(limited) as second:
        await first.grow(SMALL)
        assert (known.held, known.busy) == ({}, {}), (
            "what any connection may hold counts for nothing"
        )
        await first.grow(1)
        await second.grow(SMALL)
        assert await code_of(second.grow(1)) == "concurrency_limit_exceeded"
        assert await code_of(known.check(limited)) == "concurrency_limit_exceeded"
    assert (known.held, known.busy) == ({}, {})
    await known.check(limited)


async def test_of_uploads_that_come_at_once_as_many_are_taken_as_there_is_room_for() -> None:
    known, limited = clients(), template(at_once=2)
    with contextlib.ExitStack() as stack:
        uploads = [stack.enter_context(known.upload(limited)) for _ in range(5)]
        codes = await asyncio.gather(*(code_of(upload.grow(LARGE)) for upload in uploads))
        assert sorted(codes) == ["", "", *["concurrency_limit_exceeded"] * 3]
    assert (known.held, known.busy) == ({}, {})


async def test_an_answer_is_a_call_in_progress_until_it_was_taken() -> None:
    known, limited = clients(), template(at_once=1)
    with known.answer("k", limited.counted, LARGE):
        assert await code_of(known.check(limited)) == "concurrency_limit_exceeded"
        with known.upload(limited) as upload:
            assert await code_of(upload.grow(LARGE)) == "concurrency_limit_exceeded"
        await known.check(template("another", at_once=1))
    await known.check(limited)


async def test_calls_in_progress_count_with_what_waits() -> None:
    store = MemorySharedStore(FakeClock())
    known, limited = SlowClients(store, per_key=10**9, in_all=10**9), template(at_once=2)
    await store.admit("call", limited.counted, 60.0)
    with known.upload(limited) as upload:
        await upload.grow(LARGE)
        assert await code_of(known.check(limited)) == "concurrency_limit_exceeded"
        await store.release("call")
        await known.check(limited)


async def test_a_key_that_nothing_limits_is_bounded_in_bytes() -> None:
    known, free = clients(per_key=5 * SMALL), template()
    with known.upload(free) as first, known.upload(free) as second:
        await first.grow(4 * SMALL)
        assert await code_of(second.grow(2 * SMALL)) == "too_much_waiting"
        assert await code_of(known.check(free)) == "too_much_waiting"
        with known.upload(template("another")) as other:
            await other.grow(4 * SMALL)


async def test_one_that_is_alone_may_be_as_large_as_a_body_may_be() -> None:
    known = clients(per_key=SMALL, in_all=SMALL)
    with known.upload(template()) as upload:
        await upload.grow(100 * SMALL)


async def test_all_keys_together_are_bounded_in_bytes() -> None:
    known = clients(in_all=5 * SMALL)
    with known.upload(template("a")) as first, known.upload(template("b")) as second:
        await first.grow(4 * SMALL)
        assert await code_of(second.grow(2 * SMALL)) == "overloaded"


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from("ab"), st.lists(st.integers(0, 3 * SMALL), max_size=4)),
        max_size=8,
    )
)
def test_whatever_came_and_went_nothing_is_left(uploads: list[tuple[str, list[int]]]) -> None:
    async def come_and_go() -> None:
        known = clients(per_key=4 * SMALL, in_all=6 * SMALL)
        with contextlib.ExitStack() as stack:
            for key, sizes in uploads:
                upload = stack.enter_context(known.upload(template(key, at_once=2)))
                for size in sizes:
                    if await code_of(upload.grow(size)):
                        break
            assert known.total == sum(known.held.values())
        assert (known.held, known.busy) == ({}, {})
        assert known.total == 0

    asyncio.run(come_and_go())


class Unread:
    """A client that sends nothing more, and takes the head of its answer alone."""

    def __init__(self) -> None:
        self.reads = asyncio.Event()
        self.body = b""

    async def receive(self) -> MutableMapping[str, Any]:
        await asyncio.Event().wait()
        raise AssertionError("unreachable")

    async def send(self, message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.body":
            await self.reads.wait()
            self.body += message["body"]


async def test_a_call_ends_when_it_had_its_time_though_nobody_reads(
    tmp_path: Path, clock: FakeClock
) -> None:
    """Its place is free then, and what it used is charged."""
    async with assembled(tmp_path, clock) as gateway:
        gateway.fake("burst").tell([Chunk(b"data: {}\n\n")] * 3)
        client = Unread()
        context = RequestContext(
            request_id="req_1",
            path="/",
            headers={},
            received=clock.monotonic(),
            received_at=clock.time(),
        )
        context.principal = ALICE
        parsed = ParsedRequest("far", "chat", b"{}", True, False, 0)
        call = asyncio.create_task(
            serve(gateway.inner, context, parsed, client.receive, client.send)
        )
        await until(lambda: bool(gateway.fake("burst").calls), "it is asked")
        await clock.advance(90.0)
        backend = gateway.inner.active.backends["burst"]
        assert backend.in_flight == 1
        await clock.advance(30.0)
        await until(lambda: backend.in_flight == 0, "the place is free")
        client.reads.set()
        await call
        row = await gateway.row("req_1")
        assert (row.outcome, row.status, row.error) == ("error", 504, "timeout")
        assert row.cost_nano > 0
        assert b"backend_timeout" in client.body
