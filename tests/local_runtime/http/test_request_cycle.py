"""Requests and their answers as their connection lives on, waits, breaks and ends."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from starlette.types import Receive, Scope, Send

from gateway.clock import settle
from local_runtime.http.request_cycle import part_writer
from local_runtime.http.server_state import ServerState
from tests.local_runtime.http.wire import (
    ASK,
    BLOCK,
    BLOCKS,
    HEAD,
    NO_PATIENCE,
    Answers,
    Streams,
    Waits,
    Wire,
    protocol,
    said_by,
    tells_its_body,
    tells_its_path,
)
from tests.waiting import until


async def test_pipelined_requests_are_answered_in_their_order() -> None:
    ask = b"GET /%d HTTP/1.1\r\nhost: g\r\n\r\n"
    wire = await said_by(tells_its_path, b"".join(ask % number for number in range(5)))
    answers = b"".join(wire.writes).split(b"HTTP/1.1 200 OK")[1:]
    assert [each[-2:] for each in answers] == [b"/%d" % number for number in range(5)]


async def test_what_is_no_http_is_not_mixed_into_an_answer_that_has_begun() -> None:
    """The stream is cut, which its reader sees by the missing last chunk."""
    wire = await said_by(Streams(1), b"GET /a HTTP/1.1\r\nhost: g\r\n\r\n", b"\x16\x03\x01")
    assert b"HTTP/1.1 400" not in b"".join(wire.writes)
    assert wire.closed


async def test_an_answer_that_its_app_calls_cut_has_no_last_chunk_and_ends_the_connection() -> None:
    async def breaks_off(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"a piece", "more_body": True})
        await send({"type": "http.response.body", "body": b"an error", "more_body": None})

    wire = await said_by(breaks_off)

    assert wire.closed
    assert b"".join(wire.writes).endswith(b"7\r\na piece\r\n8\r\nan error\r\n")


async def test_parts_are_written_without_waiting_where_nothing_has_to_be_waited_for() -> None:
    told: list[bool] = []

    async def writes(scope: Scope, receive: Receive, send: Send) -> None:
        write = part_writer(send)
        assert write is not None
        told.append(write(b"before the head"))
        await send({"type": "http.response.start", "status": 200, "headers": []})
        told.append(write(b"before the first part"))
        await send({"type": "http.response.body", "body": b"one", "more_body": True})
        told.append(write(b"two"))
        told.append(write(b""))
        connection.pause_writing()
        told.append(write(b"to a client that is slow"))
        connection.resume_writing()
        await send({"type": "http.response.body", "body": b"three"})
        told.append(write(b"after the end"))

    wire, connection = Wire(), protocol(writes)
    connection.connection_made(wire)
    connection.data_received(ASK)
    await settle()
    connection.connection_lost(None)

    assert told == [False, False, True, True, False, False]
    assert wire.writes[-1] == b"5\r\nthree\r\n0\r\n\r\n"
    assert wire.writes[-2] == b"3\r\ntwo\r\n"


async def test_whoever_looks_at_what_is_sent_is_not_passed_by() -> None:
    async def looks(message: Any) -> None: ...

    assert part_writer(looks) is None


@pytest.mark.parametrize("body", [b"short", b"longer than it says"])
async def test_an_answer_that_is_not_as_long_as_it_says_is_cut_off(body: bytes) -> None:
    """The client sees that it is not whole: the connection ends before its length is reached."""
    wire = await said_by(Answers([(b"content-length", b"10")], body))
    assert wire.closed
    assert len(b"".join(wire.writes).partition(b"\r\n\r\n")[2]) < 10


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"GET /a HTTP/1.1\r\nhos",
        b"POST /a HTTP/1.1\r\nhost: g\r\ncontent-length: 9\r\n\r\nhalf",
    ],
    ids=["nothing", "half a head", "half a body"],
)
async def test_a_connection_that_says_no_more_is_closed(sent: bytes) -> None:
    """With no patience at all, so that the test need not wait."""
    wire, connection = Wire(), protocol(Waits(), limits=NO_PATIENCE)
    connection.connection_made(wire)
    if sent:
        connection.data_received(sent)
    await settle()
    assert wire.closed
    connection.connection_lost(None)
    await asyncio.gather(*end(connection.state.tasks), return_exceptions=True)


async def test_a_connection_whose_answer_is_under_way_stays_open_until_that_is_given() -> None:
    waits, wire = Waits(), Wire()
    connection = protocol(waits, limits=NO_PATIENCE)
    connection.connection_made(wire)
    connection.data_received(b"GET /a HTTP/1.1\r\nhost: g\r\n\r\n")
    await settle()
    assert not wire.closed
    waits.told.set()
    await settle()
    assert b"".join(wire.writes).endswith(b"/a")
    assert wire.closed
    connection.connection_lost(None)


async def test_a_caller_who_leaves_is_missed_though_its_next_request_is_there() -> None:
    """The one that runs is told so, and the one that waits is never begun."""
    heard: list[str] = []

    async def listens(scope: Scope, receive: Receive, send: Send) -> None:
        heard.append(scope["path"])
        while (message := await receive())["type"] != "http.disconnect":
            pass
        heard.append(message["type"])

    connection = protocol(listens)
    connection.connection_made(Wire())
    connection.data_received(ASK + ASK)
    await settle()
    connection.connection_lost(None)
    await asyncio.gather(*connection.state.tasks)
    assert heard == ["/a", "http.disconnect"]


async def test_nothing_is_read_while_a_request_waits_for_its_turn() -> None:
    """Or a caller who asks and does not listen would fill the memory with requests."""
    wire, reads = Wire(), list[bool]()

    async def looks(scope: Scope, receive: Receive, send: Send) -> None:
        reads.append(wire.reads)
        await tells_its_path(scope, receive, send)

    connection = protocol(looks)
    connection.connection_made(wire)
    connection.data_received(ASK * 3)
    await settle()
    assert reads == [False, False, True]
    connection.connection_lost(None)


async def test_what_is_no_http_is_not_mixed_into_an_early_answer_either() -> None:
    begins = HEAD + b"transfer-encoding: chunked\r\n\r\n1\r\na\r\n"
    wire = await said_by(Streams(1), begins, b"no chunk\r\n")
    assert b"HTTP/1.1 400" not in b"".join(wire.writes)
    assert wire.closed


async def test_a_caller_who_waits_for_leave_to_send_its_body_gets_it_once() -> None:
    ask = HEAD + b"expect: 100-continue\r\ncontent-length: 2\r\n\r\n"
    wire = await said_by(tells_its_body, ask, b"h", b"i")
    assert wire.writes[0] == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert b"".join(wire.writes[1:]).endswith(b"\r\n\r\nhi")
    assert b"Continue" not in b"".join(wire.writes[1:])


async def test_a_body_that_nobody_takes_is_not_read_on() -> None:
    waits, wire = Waits(), Wire()
    connection = protocol(waits)
    connection.connection_made(wire)
    connection.data_received(HEAD + b"content-length: 100000\r\n\r\n" + b"x" * 70_000)
    assert not wire.reads
    waits.told.set()
    await settle()
    assert wire.reads
    connection.connection_lost(None)


async def test_a_server_that_ends_closes_idle_connections_and_ends_others_with_their_answer() -> (
    None
):
    waits, wire, idle = Waits(), Wire(), Wire()
    connection, other = protocol(waits), protocol(waits)
    connection.connection_made(wire)
    other.connection_made(idle)
    connection.data_received(ASK)
    connection.shutdown()
    other.shutdown()
    assert (wire.closed, idle.closed) == (False, True)
    waits.told.set()
    await settle()
    assert b"connection: close\r\n" in b"".join(wire.writes)
    assert wire.closed
    connection.connection_lost(None)
    other.connection_lost(None)


async def test_an_app_that_fails_before_it_answers_is_told_of_as_every_other_error() -> None:
    async def fails(scope: Scope, receive: Receive, send: Send) -> None:
        raise ValueError("secret")

    head, _, body = b"".join((await said_by(fails)).writes).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 500 ")
    assert json.loads(body)["error"]["code"] == "internal"


async def test_a_request_that_the_server_cancels_is_cut_and_no_fault_of_the_app(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """As at the end of a drain: the log has a word of the server's, and no traceback."""
    wire, state = Wire(), ServerState()
    connection = protocol(Waits(), state)
    connection.connection_made(wire)
    connection.data_received(ASK)
    await settle()
    await asyncio.wait(end(state.tasks))
    connection.connection_lost(None)
    assert b"".join(wire.writes).startswith(b"HTTP/1.1 503 ")
    assert b'"shutting_down"' in b"".join(wire.writes)
    assert not state.tasks
    assert caplog.records == []


async def test_a_failure_after_a_length_was_named_has_a_length_of_its_own() -> None:
    wire = await said_by(Answers([(b"content-length", b"5"), (b"x-model", b"a\r\nb")]))
    head, _, body = b"".join(wire.writes).partition(b"\r\n\r\n")
    assert b"content-length: %d\r\n" % len(body) in head


def end(tasks: set[asyncio.Task[None]]) -> list[asyncio.Task[None]]:
    for task in tasks:
        task.cancel()
    return list(tasks)


@contextlib.asynccontextmanager
async def serving(app: Any) -> AsyncIterator[int]:
    state = ServerState()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: protocol(app, state), "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for connection in list(state.connections):
            connection.transport.abort()
        await settle()
        await asyncio.gather(*state.tasks, return_exceptions=True)


async def test_a_reader_that_is_slow_holds_up_its_own_stream_and_no_memory_fills() -> None:
    """What was sent ahead is bounded by the buffers of the socket; it all arrives in the end."""
    app = Streams(BLOCKS)
    async with serving(app) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=64 * 1024)
        writer.write(b"GET / HTTP/1.0\r\n\r\n")
        await until(lambda: app.sent > 0, "the first block is sent")
        before = -1
        while app.sent != before:
            before = app.sent
            await asyncio.sleep(0.05)
        assert 0 < app.sent < BLOCKS // 2
        read = 0
        while data := await reader.read(1 << 20):
            read += data.count(b"x")
        assert app.sent == BLOCKS
        assert read == BLOCKS * len(BLOCK)
        writer.close()
