"""The stream server and the stream client, against each other and against bad servers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from benchmarks.gateway.latency import AnswerCut, complete
from benchmarks.gateway.processes import HOST, free_port
from benchmarks.gateway.stream_client import Reader, Streamed, run
from benchmarks.gateway.stream_server import DELTAS, DONE, HEAD, MARK, Caller, Wheel
from benchmarks.gateway.target import Target
from gateway.clock import FakeClock


@asynccontextmanager
async def stream_server() -> AsyncIterator[Target]:
    wheel = Wheel()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Caller(wheel), HOST, 0)
    turning = asyncio.create_task(wheel.run())
    try:
        yield Target(url=f"http://{HOST}:{server.sockets[0].getsockname()[1]}")
    finally:
        turning.cancel()
        server.close()
        await asyncio.gather(turning, return_exceptions=True)


async def read_all(target: Target, request: bytes) -> bytes:
    reader, writer = await asyncio.open_connection(*target.address)
    writer.write(request)
    received = b""
    while not received.endswith((b"0\r\n\r\n", b"}")):
        received += await reader.read(65536)
    writer.close()
    await writer.wait_closed()
    return received


async def test_sixteen_streams_arrive_whole_and_are_counted() -> None:
    async with stream_server() as target:
        seen = await run(target, streams=16)
    assert (seen.wanted, seen.complete, seen.deltas) == (16, 16, 16 * DELTAS)
    assert seen.refused == 0


async def test_a_connection_carries_one_stream_after_another() -> None:
    async with stream_server() as target:
        seen = await run(target, streams=2, repeat=2)
    assert (seen.wanted, seen.complete) == (4, 4)


async def test_the_server_sends_events_of_openai_s_shape() -> None:
    async with stream_server() as target:
        received = await read_all(target, target.request(stream=True))
    lines = [line for line in received.split(b"\n") if line.startswith(b"data: ")]
    events = [json.loads(line[6:]) for line in lines[:-1]]
    assert lines[-1].strip() == b"data: [DONE]"
    assert events[-1]["choices"][0]["finish_reason"] == "stop"
    text = "".join(event["choices"][0]["delta"].get("content", "") for event in events)
    assert text.count(MARK) == DELTAS


async def test_usage_is_sent_only_to_whom_it_is_owed() -> None:
    """OpenAI sends the usage event where stream_options.include_usage asks for it."""
    async with stream_server() as target:
        body = b'{"stream": true, "stream_options": {"include_usage": true}}'
        head = b"POST /v1/chat/completions HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(body)
        asked, unasked = await asyncio.gather(
            read_all(target, head + body), read_all(target, target.request(stream=True))
        )
    assert b'"usage"' in asked
    assert b'"usage"' not in unasked


async def test_a_call_that_asks_for_no_stream_gets_a_whole_completion() -> None:
    async with stream_server() as target:
        received = await read_all(target, target.request())
    assert complete(received)
    assert b'"object": "chat.completion"' in received


async def test_nobody_listening_is_a_refusal_and_not_an_exception() -> None:
    seen = await run(Target(url=f"http://{HOST}:{free_port()}"), streams=3)
    assert (seen.refused, seen.complete) == (3, 0)


class FakeTransport(asyncio.Transport):
    """Takes what is written and remembers whether it was closed."""

    def __init__(self) -> None:
        super().__init__()
        self.closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        pass

    def close(self) -> None:
        self.closed = True


def reading(clock: FakeClock | None = None) -> tuple[Reader, FakeTransport]:
    transport = FakeTransport()
    over = asyncio.get_running_loop().create_future()
    now = (clock or FakeClock()).monotonic
    reader = Reader(b"request", repeat=1, over=over, now=now)
    reader.connection_made(transport)
    return reader, transport


async def test_deltas_are_counted_however_the_bytes_are_cut() -> None:
    reader, transport = reading()
    whole = HEAD + MARK.encode() * DELTAS + DONE
    for place in range(len(whole)):
        reader.data_received(whole[place : place + 1])
    assert (reader.deltas, reader.complete, reader.refused) == (DELTAS, 1, 0)
    assert transport.closed


async def test_an_answer_that_is_no_200_is_refused() -> None:
    reader, transport = reading()
    reader.data_received(b"HTTP/1.1 429 Too Many Requests\r\n\r\n")
    assert (reader.refused, transport.closed) == (1, True)


async def test_a_stream_cut_before_its_end_is_not_complete() -> None:
    reader, _ = reading()
    reader.data_received(HEAD + MARK.encode() * 10)
    reader.connection_lost(None)
    assert (reader.complete, reader.deltas) == (0, 10)


async def test_a_stream_of_too_few_deltas_is_not_complete_though_it_says_done() -> None:
    reader, _ = reading()
    reader.data_received(HEAD + MARK.encode() * (DELTAS - 1) + DONE)
    assert reader.complete == 0


async def test_a_stream_with_too_many_deltas_is_not_complete() -> None:
    reader, _ = reading()
    reader.data_received(HEAD + MARK.encode() * (DELTAS + 1) + DONE)
    assert reader.complete == 0


@pytest.mark.parametrize(("pause", "stalled"), [(0.4, 0), (0.6, 1)])
async def test_a_gap_over_half_a_second_between_deltas_is_a_stall(
    clock: FakeClock, pause: float, stalled: int
) -> None:
    reader, _ = reading(clock)
    reader.data_received(HEAD + MARK.encode())
    clock.move(pause)
    reader.data_received(MARK.encode() * (DELTAS - 1) + DONE)
    assert (reader.complete, reader.stalled) == (1, stalled)
    assert reader.worst == pytest.approx(pause)


async def test_the_wait_for_the_first_delta_is_no_gap(clock: FakeClock) -> None:
    reader, _ = reading(clock)
    clock.move(3.0)
    reader.data_received(HEAD)
    clock.move(3.0)
    reader.data_received(MARK.encode() * DELTAS + DONE)
    assert (reader.complete, reader.stalled) == (1, 0)


def test_a_run_is_smooth_only_when_all_ended_and_none_stalled() -> None:
    def streamed(complete: int, stalled: int) -> Streamed:
        return Streamed(
            streams=2,
            wanted=2,
            complete=complete,
            stalled=stalled,
            worst_gap=0.0,
            deltas=0,
            refused=0,
        )

    assert streamed(2, 0).smooth
    assert not streamed(1, 0).smooth
    assert not streamed(2, 1).smooth


def test_an_answer_is_whole_by_its_length_or_its_last_chunk() -> None:
    assert complete(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
    assert not complete(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{")
    assert complete(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n")
    assert not complete(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}")


def test_an_answer_of_another_status_stops_the_measurement() -> None:
    with pytest.raises(AnswerCut, match="503"):
        complete(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")
