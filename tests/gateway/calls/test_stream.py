"""A stream ends its own call, once, however its reader leaves it."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from adapters.base import Push
from adapters.errors import BackendError, FailureClass
from adapters.openai.backend import OpenAISettings
from adapters.settings import Secret
from adapters.types import Chunk, Reply, Usage
from gateway.backends.redaction import Redactor
from gateway.calls.state import CallState
from gateway.calls.stream import SettledStream
from gateway.clock import FakeClock
from gateway.storage.base import Claim, LedgerRow
from tests.gateway.assembled import PATIENCE_S, AssembledGateway, assembled
from tests.gateway.calls.test_cancellation import CancelledAt
from tests.gateway.failing_stores import FailingLedger, FailingShared, Trouble

WORD = Chunk(b"data: {}\n\n")
DONE = Chunk(b"data: [DONE]\n\n", "done")
LIMIT = 5_000_000_000
KEY, URL = Secret("hush-hush"), "http://127.0.0.1:9"
USED = Usage(exec_s=0.5, input_tokens=1, output_tokens=2, reported=True)
WHOLE = (WORD, WORD, Chunk(b"", "usage", USED), DONE)


class Pushes:
    """Chunks that come while somebody waits for the next."""

    def __init__(self, *chunks: Chunk) -> None:
        self._chunks = list(chunks)
        self._take: Push | None = None

    def push_to(self, take: Push | None) -> None:
        self._take = take

    def __aiter__(self) -> Pushes:
        return self

    async def __anext__(self) -> Chunk:
        while self._chunks:
            chunk = self._chunks.pop(0)
            take = self._take
            if chunk.kind != "data" or take is None or not take(chunk.data, chunk.tokens):
                return chunk
        raise StopAsyncIteration


class Written:
    """What was passed on without being read."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []

    def add(self, piece: bytes) -> bool:
        self.pieces.append(piece)
        return True


class Counted:
    """A gateway, and how often its two stores were asked to settle a call."""

    def __init__(self, gateway: AssembledGateway, trouble: Trouble) -> None:
        self.gateway = gateway
        self.trouble = trouble

    async def pushed(self, *chunks: Chunk) -> tuple[CallState, SettledStream]:
        """A stream that pushes; its first chunk is read before."""
        return await self._asked(Reply(chunks=Pushes(*chunks)))

    async def begun(self, *told: Chunk | BackendError) -> tuple[CallState, SettledStream]:
        return await self._asked(list(told))

    async def _asked(
        self, told: list[Chunk | BackendError] | Reply
    ) -> tuple[CallState, SettledStream]:
        self.gateway.fake("burst").tell(told)
        state = self.gateway.call_state("far", stream=True)
        stream = await self.gateway.ask(state)
        assert isinstance(stream, SettledStream)
        return state, stream

    async def settled_once(self) -> LedgerRow:
        """The call's row, once its settlement has gone to each store a single time."""
        row = await self.settled()
        assert self.trouble.asked.count("settle") == 2
        return row

    async def settled(self) -> LedgerRow:
        """The call's row, once nothing is held and both stores have the same sum."""
        gateway = self.gateway.inner
        await gateway.dispatcher.background.drain()
        running = Claim("user:alice", "concurrent", "", 100, 1)
        money = Claim("user:alice", "nano_usd", "month", LIMIT, 0)
        calls, spent = await gateway.shared.statuses((running, money))
        row = await self.gateway.row("req_1")
        assert (calls.remaining, LIMIT - spent.remaining) == (100, row.cost_nano)
        assert [each.in_flight for each in gateway.active.backends.values()] == [0, 0]
        return row


@contextlib.asynccontextmanager
async def counted(folder: Path, clock: FakeClock) -> AsyncIterator[Counted]:
    trouble = Trouble()
    shared = FailingShared(clock).told(trouble)
    file = folder / "ledger.db"
    ledger = FailingLedger(file, clock=clock, write_timeout_s=PATIENCE_S).told(trouble)
    async with assembled(folder, clock, shared=shared, ledger=ledger) as gateway:
        yield Counted(gateway, trouble)


async def test_a_stream_that_was_read_to_its_end_is_settled_before_it_says_its_last(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with counted(tmp_path, clock) as bench:
        state, stream = await bench.begun(*WHOLE)
        async with stream:
            assert [piece async for piece in stream] == [WORD.data, WORD.data]
            assert state.ending is not None
            assert stream.last(show_usage=False) == DONE.data
        assert (await bench.settled_once()).outcome == "success"


async def test_a_stream_that_is_closed_unread_is_settled_as_broken_off(
    tmp_path: Path, clock: FakeClock
) -> None:
    """The backend is told to stop, and closing it again does nothing."""
    async with counted(tmp_path, clock) as bench:
        state, stream = await bench.begun(*WHOLE)
        await stream.aclose()
        await stream.aclose()
        row = await bench.settled_once()
        assert (row.outcome, row.status, row.output_tokens) == ("cancelled", 503, 0)
        assert bench.gateway.fake("burst").cancelled == [state.call.id]


@pytest.mark.parametrize("taken", [1, 2])
async def test_a_reader_who_leaves_in_the_middle_is_charged_for_what_it_took(
    taken: int, tmp_path: Path, clock: FakeClock
) -> None:
    async with counted(tmp_path, clock) as bench:
        _, stream = await bench.begun(WORD, WORD, WORD, DONE)
        async with stream:
            for _ in range(taken):
                await anext(stream.__aiter__())
        row = await bench.settled_once()
        assert row.outcome == "cancelled"
        assert row.output_tokens == taken


async def test_a_reader_who_leaves_after_the_last_piece_was_settled_is_settled_no_more(
    tmp_path: Path, clock: FakeClock
) -> None:
    """It fails to pass the end marker on: the call has succeeded all the same."""
    async with counted(tmp_path, clock) as bench:
        _, stream = await bench.begun(*WHOLE)

        async def read() -> None:
            async with stream:
                async for _ in stream:
                    pass
                raise ConnectionResetError

        with pytest.raises(ConnectionResetError):
            await read()
        assert (await bench.settled_once()).outcome == "success"


async def test_a_reader_that_fails_is_no_caller_that_left(tmp_path: Path, clock: FakeClock) -> None:
    async with counted(tmp_path, clock) as bench:
        _, stream = await bench.begun(*WHOLE)

        async def read() -> None:
            async with stream:
                async for _ in stream:
                    raise ConnectionResetError

        with pytest.raises(ConnectionResetError):
            await read()
        row = await bench.settled_once()
        assert (row.outcome, row.error) == ("error", "internal_error")


async def test_a_stream_that_its_backend_breaks_off_ends_and_says_so_last(
    tmp_path: Path, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Its reader sees an end, not an exception; the log has what the system said."""
    async with counted(tmp_path, clock) as bench:
        failure = BackendError(FailureClass.TRUNCATED, "it broke off", detail="Connection reset")
        _, stream = await bench.begun(WORD, failure)
        async with stream:
            assert [piece async for piece in stream] == [WORD.data]
            told = json.loads(stream.last(show_usage=True).removeprefix(b"data: "))
        assert told["error"]["code"] == "backend_truncated"
        assert told["usage"]["cost"] == 0
        assert (await bench.settled_once()).outcome == "error"
        assert "(truncated): it broke off (Connection reset)" in caplog.text


async def test_a_stream_whose_row_cannot_be_written_ends_in_an_error(
    tmp_path: Path, clock: FakeClock
) -> None:
    """No end marker: nobody may take the call for one that is accounted for."""
    async with counted(tmp_path, clock) as bench:
        text = Chunk(b"data: {}\n\n")
        bench.gateway.fake("home").tell([text, DONE])
        state = bench.gateway.call_state("chat", stream=True)
        stream = await bench.gateway.ask(state)
        assert isinstance(stream, SettledStream)
        bench.trouble.fails("before", "settle")
        async with stream:
            assert [piece async for piece in stream] == [text.data]
            assert b"store_unavailable" in stream.last(show_usage=False)
        assert bench.trouble.asked.count("settle") == 2
        assert bench.gateway.inner.active.backends["home"].in_flight == 0
        bench.trouble.ends()


async def test_the_backends_stream_is_closed_however_the_reader_leaves(
    tmp_path: Path, clock: FakeClock
) -> None:
    closed: list[bool] = []

    async def endless() -> AsyncIterator[Chunk]:
        try:
            while True:
                yield WORD
        finally:
            closed.append(True)

    async with counted(tmp_path, clock) as bench:
        bench.gateway.fake("burst").tell(Reply(chunks=endless()))
        stream = await bench.gateway.ask(bench.gateway.call_state("far", stream=True))
        assert isinstance(stream, SettledStream)
        async with stream:
            async for _ in stream:
                break
        assert closed == [True]
        await bench.settled_once()


async def left_at(turn: int, folder: Path) -> bool:
    """One stream, whose reader is cancelled at its ``turn``-th suspension; False when it had
    fewer."""
    folder.mkdir()
    clock = FakeClock()
    async with counted(folder, clock) as bench:
        state, stream = await bench.begun(*WHOLE)

        async def read() -> None:
            async with stream:
                async for _ in stream:
                    await asyncio.sleep(0)

        reading = CancelledAt(read(), turn)

        async def run() -> None:
            await reading

        task = asyncio.ensure_future(run())
        await asyncio.wait([task])
        row = await bench.settled()
        assert task.cancelled() == reading.reached
        assert state.ending is not None
        assert row.outcome in ("success", "cancelled")
        return reading.reached


async def test_wherever_a_reader_is_cancelled_its_call_is_settled_exactly_once(
    tmp_path: Path,
) -> None:
    """At a piece that it passes on, at the next one, at the settlement in either store."""
    turn = 0
    while await left_at(turn, tmp_path / str(turn)):
        turn += 1
    assert turn >= 5, "the stream is hardly ever suspended: this proves nothing"


async def test_a_second_cancellation_does_not_settle_a_stream_again(
    tmp_path: Path, clock: FakeClock
) -> None:
    """The server ends while a reader who hung up is being settled."""
    async with counted(tmp_path, clock) as bench:
        state, stream = await bench.begun(*WHOLE)

        async def read() -> None:
            async with stream:
                async for _ in stream:
                    await asyncio.Event().wait()

        task = asyncio.ensure_future(read())
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (await bench.settled_once()).outcome == "cancelled"
        assert state.ending is not None


async def test_what_is_pushed_is_written_and_only_the_rest_is_read(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with counted(tmp_path, clock) as counted_:
        state, stream = await counted_.pushed(*WHOLE)
        written = Written()
        stream.push_to(written.add)
        async with stream:
            read = [piece async for piece in stream]
            last = stream.last(show_usage=False)

        assert (read, written.pieces, last) == ([WORD.data], [WORD.data], DONE.data)
        row = await counted_.settled_once()
        assert (row.outcome, row.output_tokens) == ("success", USED.output_tokens)
        assert state.ending is not None


async def test_a_piece_that_cannot_be_written_is_read_and_counted_once(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with counted(tmp_path, clock) as counted_:
        _, stream = await counted_.pushed(WORD, WORD, WORD)
        takes = iter([False, True])
        stream.push_to(lambda piece: next(takes))
        pieces = aiter(stream)
        assert [await anext(pieces), await anext(pieces)] == [WORD.data, WORD.data]
        assert await anext(pieces, None) is None
        assert stream._progress.events == 3
        await stream.aclose()


async def test_the_end_of_a_piece_with_which_a_secret_may_begin_is_held_back_when_pushed_too(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with counted(tmp_path, clock) as counted_:
        _, stream = await counted_.pushed(WORD, Chunk(b"begun: hush"), Chunk(b"-hush\n\n"))
        stream._redact = Redactor(OpenAISettings(base_url=URL, api_key=KEY)).over_stream()
        written = Written()
        stream.push_to(written.add)
        read = [piece async for piece in stream]
        assert written.pieces == []
        assert b"".join(read) == WORD.data + b"begun: ***\n\n"
        await stream.aclose()
