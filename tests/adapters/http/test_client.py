"""The HTTP client against servers that answer, cut, stall and babble."""

from __future__ import annotations

import asyncio

import pytest

from adapters.errors import BackendError, FailureClass
from adapters.http.client import Client, Origin, render_head
from gateway.clock import FakeClock, settle
from tests.adapters.http.client import client_of
from tests.adapters.servers import (
    CUT,
    STALL,
    RawServer,
    answer,
    chunked,
    drive,
    read_request,
    scripted,
)


async def failure_of(clock: FakeClock, *answers: bytes, deadline: float = 60.0) -> FailureClass:
    """What one POST fails with, against a script."""
    async with scripted(*answers) as (_, url), client_of(url, clock) as (client, head):
        request = client.request(head, b"{}", deadline=clock.monotonic() + deadline)
        with pytest.raises(BackendError) as caught:
            await drive(clock, request)
        return caught.value.failure


async def test_a_post_arrives_whole_and_its_answer_comes_back(clock: FakeClock) -> None:
    """Method, path, headers and body on one side; status, headers and body on the other."""
    async with scripted(answer({"a": 1}, 201, X_Kind="odd")) as (script, url):
        origin = Origin(url + "/base/")
        client = Client(origin, clock)
        client.start()
        head = render_head("POST", origin, "/x?y=1", {"Authorization": "Bearer k"})
        response = await client.request(head, b'{"q":2}')
        await client.aclose()
    assert (response.status, response.body) == (201, b'{"a":1}')
    assert response.header(b"x-kind") == "odd"
    request = script.requests[0]
    assert (request.method, request.target, request.body) == ("POST", "/base/x?y=1", b'{"q":2}')
    assert request.headers["authorization"] == "Bearer k"
    assert request.headers["host"] == url.removeprefix("http://")


async def test_one_connection_carries_call_after_call(clock: FakeClock) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await read_request(reader)
            writer.write(answer(b"ok"))

    async with RawServer(talk).running() as server, client_of(server.url, clock) as (client, head):
        for _ in range(5):
            await client.request(head, b"{}")
        assert server.connections == 1
        assert "0 active, 1 idle, 0 waiting" in repr(client)


@pytest.mark.parametrize(
    "reply",
    [
        chunked(b"he", b"llo"),
        answer(b"hello"),
        b"HTTP/1.1 200 OK\r\n\r\nhello" + CUT,
        b"HTTP/1.0 200 OK\r\n\r\nhello" + CUT,
        b"HTTP/1.1 100 Continue\r\n\r\n" + answer(b"hello"),
        b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" + chunked(b"hello"),
    ],
    ids=["chunked", "content-length", "close", "http-1.0", "100-continue", "103-hints"],
)
async def test_every_framing_gives_the_same_body(clock: FakeClock, reply: bytes) -> None:
    async with scripted(reply) as (_, url), client_of(url, clock) as (client, head):
        assert (await client.request(head, b"{}")).body == b"hello"


async def test_a_connection_refused_is_unreachable(clock: FakeClock) -> None:
    async with scripted() as (_, url):
        pass
    async with client_of(url, clock) as (client, head):
        with pytest.raises(BackendError) as caught:
            await client.request(head, b"{}")
        assert caught.value.failure is FailureClass.UNREACHABLE
        assert caught.value.detail == f"{url.removeprefix('http://')}: Connection refused"
        assert "active" in repr(client)
        assert "0 active" in repr(client)


async def test_a_connection_that_dies_after_the_request_is_ambiguous(clock: FakeClock) -> None:
    assert await failure_of(clock, b"") is FailureClass.AMBIGUOUS


@pytest.mark.parametrize(
    "reply",
    [
        b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhal" + CUT,
        chunked(b"half", end=False) + CUT,
        b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n" + CUT,
    ],
    ids=["short-body", "no-last-chunk", "no-body"],
)
async def test_a_cut_answer_is_never_taken_for_a_whole_one(clock: FakeClock, reply: bytes) -> None:
    assert await failure_of(clock, reply) is FailureClass.TRUNCATED


@pytest.mark.parametrize(
    "reply",
    [
        b"SSH-2.0-OpenSSH_9.6\r\n" + CUT,
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 7\r\n\r\nhello" + CUT,
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n" + CUT,
        b"HTTP/1.1 101 Switching\r\nupgrade: x\r\nconnection: upgrade\r\n\r\nfoo" + CUT,
        b"HTTP/1.1 200 OK\r\n" + b"x: " + b"y" * 200_000 + CUT,
        answer(b"z" * 200_000),
    ],
    ids=["ssh", "two-lengths", "bad-chunk", "upgrade", "huge-head", "huge-body"],
)
async def test_garbage_is_a_failure_and_not_an_answer(clock: FakeClock, reply: bytes) -> None:
    assert await failure_of(clock, reply) is FailureClass.MALFORMED


async def test_a_server_that_says_nothing_times_out_at_the_deadline(clock: FakeClock) -> None:
    started = clock.monotonic()
    assert await failure_of(clock, STALL, deadline=3.0) is FailureClass.TIMEOUT
    assert 3.0 <= clock.monotonic() - started <= 3.3


async def test_a_cancelled_call_leaves_no_connection(clock: FakeClock) -> None:
    """The server sees the close, and the pool counts nothing as active."""
    async with scripted(STALL) as (script, url), client_of(url, clock) as (client, head):
        task = asyncio.ensure_future(client.request(head, b"{}"))
        while not script.requests:
            await settle()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert "0 active, 0 idle, 0 waiting" in repr(client)


async def test_an_idle_connection_that_the_server_closed_is_replaced_in_silence(
    clock: FakeClock,
) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(answer(b"ok"))

    async with RawServer(talk).running() as server, client_of(server.url, clock) as (client, head):
        assert (await client.request(head, b"{}")).body == b"ok"
        await settle()
        assert (await client.request(head, b"{}")).body == b"ok"
        assert server.connections == 2


async def test_a_connection_that_babbles_while_idle_is_not_used_again(clock: FakeClock) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(answer(b"ok") + b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nother")
        await reader.read()

    async with RawServer(talk).running() as server, client_of(server.url, clock) as (client, head):
        assert (await client.request(head, b"{}")).body == b"ok"
        assert (await client.request(head, b"{}")).body == b"ok"
        assert server.connections == 2


async def test_an_answer_with_connection_close_ends_its_connection(clock: FakeClock) -> None:
    async with (
        scripted(answer(b"1", Connection="close"), answer(b"2")) as (script, url),
        client_of(url, clock) as (client, head),
    ):
        assert (await client.request(head, b"{}")).body == b"1"
        assert "0 idle" in repr(client)
        assert (await client.request(head, b"{}")).body == b"2"
        assert len(script.requests) == 2


async def test_an_unused_connection_is_closed_in_time(clock: FakeClock) -> None:
    async with scripted(answer(b"1")) as (_, url), client_of(url, clock) as (client, head):
        await client.request(head, b"{}")
        await clock.advance(3.5)
        assert "1 idle" in repr(client)
        await clock.advance(0.7)
        assert "0 idle" in repr(client)


async def test_calls_past_the_bound_wait_their_turn_in_order(clock: FakeClock) -> None:
    """Never more than two connections, and first come is first served."""
    seen: list[bytes] = []
    gate = asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            request = await read_request(reader)
            await gate.wait()
            seen.append(request.body)
            writer.write(answer(request.body))

    async with (
        RawServer(talk).running() as server,
        client_of(server.url, clock, max_connections=2) as (client, head),
    ):
        tasks = []
        for number in range(6):
            tasks.append(asyncio.ensure_future(client.request(head, b"%d" % number)))
            await settle()
        assert "2 active, 0 idle, 4 waiting" in repr(client)
        gate.set()
        answers = await asyncio.gather(*tasks)
        assert [answer.body for answer in answers] == [b"%d" % number for number in range(6)]
        assert server.connections == 2
        assert [body for body in seen if body in (b"2", b"3", b"4", b"5")] == [
            b"2",
            b"3",
            b"4",
            b"5",
        ]


async def test_a_waiter_that_leaves_gives_its_turn_to_the_next(clock: FakeClock) -> None:
    gate = asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await read_request(reader)
            await gate.wait()
            writer.write(answer(b"ok"))

    async with (
        RawServer(talk).running() as server,
        client_of(server.url, clock, max_connections=1) as (client, head),
    ):
        first, second, third = (
            asyncio.ensure_future(client.request(head, b"%d" % number)) for number in range(3)
        )
        while not server.connections:
            await settle()
        second.cancel()
        gate.set()
        assert (await first).body == b"ok"
        assert (await third).body == b"ok"
        with pytest.raises(asyncio.CancelledError):
            await second


async def test_a_cancelled_call_frees_its_place_for_a_waiter(clock: FakeClock) -> None:
    async with (
        scripted(STALL, answer(b"ok")) as (script, url),
        client_of(url, clock, max_connections=1) as (client, head),
    ):
        first = asyncio.ensure_future(client.request(head, b"1"))
        while not script.requests:
            await settle()
        second = asyncio.ensure_future(client.request(head, b"2"))
        await settle()
        first.cancel()
        assert (await second).body == b"ok"


async def test_waiting_for_a_place_until_the_deadline_is_overload(clock: FakeClock) -> None:
    """Nothing was sent, so it is no TIMEOUT, which would say that it may be running."""
    async with (
        scripted(STALL) as (_, url),
        client_of(url, clock, max_connections=1) as (client, head),
    ):
        first = asyncio.ensure_future(client.request(head, b"1"))
        with pytest.raises(BackendError) as caught:
            await drive(clock, client.request(head, b"2", deadline=clock.monotonic() + 1))
        assert caught.value.failure is FailureClass.OVERLOADED
        first.cancel()


async def test_closing_fails_what_is_in_flight_and_may_be_done_twice(clock: FakeClock) -> None:
    async with scripted(STALL) as (script, url), client_of(url, clock) as (client, head):
        task = asyncio.ensure_future(client.request(head, b"{}"))
        while not script.requests:
            await settle()
        await client.aclose()
        await client.aclose()
        with pytest.raises(BackendError) as caught:
            await task
        assert caught.value.failure is FailureClass.AMBIGUOUS
        with pytest.raises(BackendError):
            await client.request(head, b"{}")


async def test_closing_fails_those_who_wait_for_a_place_and_opens_nothing(
    clock: FakeClock,
) -> None:
    async with (
        scripted(STALL) as (script, url),
        client_of(url, clock, max_connections=1) as (client, head),
    ):
        tasks = [asyncio.ensure_future(client.request(head, b"%d" % number)) for number in range(3)]
        while not script.requests:
            await settle()
        await client.aclose()
        ends = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(end, BackendError) for end in ends)
        assert "0 active, 0 idle, 0 waiting" in repr(client)
        assert len(script.requests) == 1


# --- what it is given ---------------------------------------------------------------------------


@pytest.mark.parametrize("url", ["ftp://x", "x", "http://", "http://u:p@x", "http://x/?q=1"])
def test_a_base_url_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"http"):
        Origin(url)


def test_a_client_that_could_never_connect_is_refused(clock: FakeClock) -> None:
    with pytest.raises(ValueError, match="max_connections is 0"):
        Client(Origin("http://x"), clock, max_connections=0)


async def test_a_request_without_a_deadline_has_one_all_the_same(clock: FakeClock) -> None:
    async with scripted(STALL) as (_, url), client_of(url, clock) as (client, head):
        with pytest.raises(BackendError) as caught:
            await drive(clock, client.request(head, b"{}"), step=10.0)
        assert caught.value.failure is FailureClass.TIMEOUT


def test_a_header_cannot_break_out_of_its_line() -> None:
    with pytest.raises(ValueError, match="line break"):
        render_head("GET", Origin("http://x"), "/", {"a": "b\r\nc: d"})
