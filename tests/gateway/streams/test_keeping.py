"""Who follows a named stream is told all of it, or that it was cut: by this gateway or another."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any

import pytest

from gateway.clock import FakeClock
from gateway.storage.base import StorageUnavailable
from gateway.storage.sqlite.outbox import SqliteStatements
from gateway.storage.streams.base import NamedRequest, NewStream
from gateway.storage.streams.sql_streams import SqlStreams
from gateway.streams.keeping import LEASE_S, KeptStreams, NameTaken
from gateway.streams.recording import MOST_KEPT, Followed
from gateway.types import MICRO
from tests.waiting import until

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
START = {"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"x")]}


class Spoken:
    """A call that answers when it is told to."""

    def __init__(self, *, keeps: bool = True) -> None:
        self.pieces: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._keeps = keeps

    def say(self, *pieces: bytes | None) -> None:
        for piece in pieces:
            self.pieces.put_nowait(piece)

    async def __call__(self, send: Send) -> bool:
        await send(START)
        while (piece := await self.pieces.get()) is not None:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})
        return self._keeps


class Kept:
    """Streams of gateways that share a store."""

    def __init__(self, folder: Path, clock: FakeClock) -> None:
        self.clock = clock
        self._path = folder / "ledger.db"
        self.store = self._store()
        self._opened: list[KeptStreams] = []

    def _store(self, kind: type[SqlStreams] = SqlStreams) -> SqlStreams:
        return kind(SqliteStatements(self._path, now_us=lambda: round(self.clock.time() * MICRO)))

    def gateway(self, kind: type[SqlStreams] = SqlStreams) -> KeptStreams:
        self._opened.append(KeptStreams(self._store(kind), self.clock))
        return self._opened[-1]

    async def __aenter__(self) -> Kept:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.store.aclose()
        for one in self._opened:
            await one.aclose()

    async def heard(self, followed: Followed, most: int | None = None) -> bytes:
        """All of it, to its end, or to so many bytes."""
        found = b""

        async def over() -> bool:
            nonlocal found
            found += followed.take()
            if followed.state != "running" or (most is not None and len(found) >= most):
                return True
            waiting = asyncio.ensure_future(followed.wait(1.0))
            while not waiting.done():
                await self.clock.advance(0.25)
                await asyncio.sleep(0.001)
            return False

        await until(over, "it is over", every_s=0.0)
        return found


def new(id: str, digest: str = "d", *older: str) -> NewStream:
    return NewStream(
        id=id,
        name="key:a",
        digest=digest,
        older=older,
        user="alice",
        keep_s=3600.0,
        lease_s=LEASE_S,
        most_bytes=10_000_000,
    )


async def never(_: Send) -> bool:
    raise AssertionError("it was asked for already")


async def test_whoever_comes_later_hears_it_from_the_start(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with Kept(tmp_path, clock) as kept:
        here, call = kept.gateway(), Spoken()
        first, is_first = await here.open(new("req_1"), call)
        call.say(b"one ", b"two ")
        assert await kept.heard(first, 8) == b"one two "

        second, also_first = await here.open(new("req_2"), never)
        elsewhere, _ = await kept.gateway().open(new("req_3"), never)
        call.say(b"three", None)

        assert (is_first, also_first) == (True, False)
        assert await kept.heard(first) == b"three"
        assert await kept.heard(second) == b"one two three"
        assert await kept.heard(elsewhere) == b"one two three"
        assert elsewhere.head == first.head
        assert {first.state, second.state, elsewhere.state} == {"ended"}


async def test_a_stream_whose_gateway_died_is_heard_as_far_as_it_is_known_and_is_cut(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with Kept(tmp_path, clock) as kept:
        await kept.store.claim(new("req_1"))
        await kept.store.keep("req_1", 0, b"one", '{"status":200,"headers":[]}', LEASE_S)

        followed, _ = await kept.gateway().open(new("req_2"), never)

        assert await kept.heard(followed) == b"one"
        assert followed.state == "cut"


async def test_a_stream_that_is_kept_under_an_older_digest_is_the_same(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with Kept(tmp_path, clock) as kept:
        await kept.store.claim(new("req_1", "by its model"))
        _, is_first = await kept.gateway().open(new("req_2", "as sent", "by its model"), never)
        assert not is_first


async def test_a_call_that_fails_without_an_end_is_cut(tmp_path: Path, clock: FakeClock) -> None:
    async with Kept(tmp_path, clock) as kept:

        async def breaks(send: Send) -> bool:
            await send(START)
            await send({"type": "http.response.body", "body": b"one", "more_body": True})
            raise asyncio.CancelledError

        here = kept.gateway()
        first, _ = await here.open(new("req_1"), breaks)
        assert (await kept.heard(first), first.state) == (b"one", "cut")
        later, _ = await kept.gateway().open(new("req_2"), never)
        assert (await kept.heard(later), later.state) == (b"one", "cut")


async def test_a_call_that_fails_after_a_whole_answer_is_cut_all_the_same(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with Kept(tmp_path, clock) as kept:

        async def breaks(send: Send) -> bool:
            await send(START)
            await send({"type": "http.response.body", "body": b"sorry"})
            raise asyncio.CancelledError

        first, _ = await kept.gateway().open(new("req_1"), breaks)
        assert (await kept.heard(first), first.state) == (b"sorry", "cut")


async def test_a_stream_that_told_why_a_shutdown_stops_it_has_no_second_end(
    tmp_path: Path, clock: FakeClock
) -> None:
    """It is broken, here and for whoever comes later: nobody says more behind its own error."""
    async with Kept(tmp_path, clock) as kept:

        async def is_stopped(send: Send) -> bool:
            await send(START)
            await send({"type": "http.response.body", "body": b"one ", "more_body": True})
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                await send({"type": "http.response.body", "body": b"error", "more_body": None})
                raise
            return True

        here = kept.gateway()
        first, _ = await here.open(new("req_1"), is_stopped)
        assert await kept.heard(first, 4) == b"one "
        for task in asyncio.all_tasks():
            if "KeptStreams._ask" in repr(task.get_coro()):
                task.cancel()
        assert (await kept.heard(first), first.state) == (b"error", "broken")
        later, _ = await kept.gateway().open(new("req_2"), never)
        assert (await kept.heard(later), later.state) == (b"one error", "broken")


class LostAnswers(SqlStreams):
    """Does what it is told, and does not say so."""

    async def claim(self, new: NewStream) -> NamedRequest:
        await super().claim(new)
        raise StorageUnavailable("its answer was lost")


async def test_a_name_whose_claim_had_no_answer_is_free_again(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with Kept(tmp_path, clock) as kept:
        losing = kept.gateway(LostAnswers)
        with pytest.raises(StorageUnavailable):
            await losing.open(new("req_1"), never)

        async def is_free() -> bool:
            return await kept.store.read("req_1", 0) is None

        await until(is_free, "the name is free", every_s=0.001)


async def test_the_name_is_free_again_where_nobody_was_asked(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with Kept(tmp_path, clock) as kept:
        here, refused, asked = kept.gateway(), Spoken(keeps=False), Spoken()
        refused.say(b"no", None)
        asked.say(b"yes", None)
        first, _ = await here.open(new("req_1"), refused)
        assert await kept.heard(first) == b"no"

        second, is_first = await here.open(new("req_2"), asked)

        assert is_first
        assert await kept.heard(second) == b"yes"


async def test_another_request_may_not_have_the_name(tmp_path: Path, clock: FakeClock) -> None:
    async with Kept(tmp_path, clock) as kept:
        here, call = kept.gateway(), Spoken()
        call.say(None)
        await here.open(new("req_1"), call)

        with pytest.raises(NameTaken) as taken:
            await here.open(new("req_2", "other"), never)

        assert (taken.value.id, taken.value.same) == ("req_1", False)


async def test_a_long_answer_is_heard_whole_by_who_follows_it_and_is_not_kept(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with Kept(tmp_path, clock) as kept:
        here, call = kept.gateway(), Spoken()
        followed, _ = await here.open(new("req_1"), call)
        half = b"x" * (MOST_KEPT // 2)
        call.say(half, half, half, None)

        assert len(await kept.heard(followed)) == 3 * len(half)
        assert followed.state == "ended"
        later, _ = await kept.gateway().open(new("req_2"), never)
        assert (await kept.heard(later), later.state) == (b"", "large")


async def test_whoever_follows_a_long_answer_elsewhere_is_told_at_once_that_it_is_not_kept(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with Kept(tmp_path, clock) as kept:
        call = Spoken()
        followed, _ = await kept.gateway().open(new("req_1"), call)
        elsewhere, _ = await kept.gateway().open(new("req_2"), never)
        half = b"x" * (MOST_KEPT // 2)
        call.say(half, half, half)
        assert len(await kept.heard(followed, 3 * len(half))) == 3 * len(half)

        await kept.heard(elsewhere)
        assert (elsewhere.state, followed.state) == ("large", "running")
        call.say(b"end", None)
        assert (await kept.heard(followed), followed.state) == (b"end", "ended")


async def test_a_long_answer_waits_for_who_is_slow_and_holds_no_more_than_may_be_kept(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with Kept(tmp_path, clock) as kept:
        here, call = kept.gateway(), Spoken()
        followed, _ = await here.open(new("req_1"), call)
        piece = b"x" * (MOST_KEPT // 2)
        call.say(*[piece] * 6)
        await until(lambda: call.pieces.qsize() <= 3, "some of it was taken", every_s=0.001)
        for _ in range(20):
            await kept.clock.advance(0.25)
            await asyncio.sleep(0.001)

        assert call.pieces.qsize() == 3
        followed.leave()
        await kept.clock.advance(1.0)
        call.say(None)
        await until(lambda: not call.pieces.qsize(), "nobody is waited for", every_s=0.001)
