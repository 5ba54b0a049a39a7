"""Answers that come compressed, though none was asked for."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable

import pytest

from adapters.errors import BackendError, FailureClass
from adapters.http.client import Origin, render_head
from adapters.http.encodings import ContentDecoder
from adapters.http.response import Body, Response
from gateway.clock import FakeClock
from tests.adapters.http.client import client_of
from tests.adapters.servers import CUT, answer, chunked, scripted

TEXT = b"data: {}\n\n" * 50


def raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


PACKED = {
    "gzip": ("gzip", gzip.compress(TEXT)),
    "x-gzip": ("X-GZIP", gzip.compress(TEXT)),
    "members": ("gzip", gzip.compress(TEXT[:99]) + gzip.compress(TEXT[99:])),
    "deflate": ("deflate", zlib.compress(TEXT)),
    "raw-deflate": ("deflate", raw_deflate(TEXT)),
    "identity": ("identity", TEXT),
    "zeros behind it": ("gzip", gzip.compress(TEXT) + bytes(600)),
    "something behind it": ("gzip", gzip.compress(TEXT) + b"more"),
    "twice": ("gzip, gzip", gzip.compress(gzip.compress(TEXT))),
    "twice by name": ("gzip, gzip", gzip.compress(TEXT)),
    "one of two": ("identity, gzip", gzip.compress(TEXT)),
    "two": ("deflate, gzip", gzip.compress(zlib.compress(TEXT))),
    "in two heads": ("gzip\r\ncontent-encoding: gzip", gzip.compress(TEXT)),
    "in two heads, one of them none": ("gzip\r\ncontent-encoding: identity", gzip.compress(TEXT)),
}


def packed(name: str, body: bytes, status: int = 200) -> bytes:
    return answer(body, status, Content_Encoding=name)


def streamed(name: str, body: bytes, step: int) -> bytes:
    pieces = [body[at : at + step] for at in range(0, len(body), step)]
    head, _, rest = chunked(*pieces).partition(b"\r\n\r\n")
    return head + b"\r\ncontent-encoding: " + name.encode() + b"\r\n\r\n" + rest


def test_no_compression_is_asked_for_unless_the_settings_do() -> None:
    origin = Origin("http://x")
    assert b"Accept-Encoding: identity\r\n" in render_head("GET", origin, "/")
    asked = render_head("GET", origin, "/", {"accept-encoding": "gzip"})
    assert b"identity" not in asked


@pytest.mark.parametrize("kind", PACKED)
async def test_a_whole_answer_is_unpacked(clock: FakeClock, kind: str) -> None:
    reply = packed(*PACKED[kind])
    async with scripted(reply, reply) as (_, url), client_of(url, clock) as (client, head):
        for _ in range(2):
            assert (await client.request(head, b"{}")).body == TEXT


@pytest.mark.parametrize("step", [1, 7, 10_000])
@pytest.mark.parametrize("kind", PACKED)
async def test_a_stream_is_unpacked_as_it_comes(clock: FakeClock, kind: str, step: int) -> None:
    reply = streamed(*PACKED[kind], step)
    async with scripted(reply) as (_, url), client_of(url, clock) as (client, head):
        body = await client.stream(head, b"{}")
        assert await body.read_all(100_000) == TEXT
        assert "1 idle" in repr(client)


async def failure_of(clock: FakeClock, reply: bytes, *, stream: bool) -> BackendError:
    async with scripted(reply) as (_, url), client_of(url, clock) as (client, head):
        asked = client.stream(head, b"{}") if stream else client.request(head, b"{}")
        with pytest.raises(BackendError) as caught:
            await _all_of(await asked)
    return caught.value


async def _all_of(answered: Body | Response) -> None:
    if isinstance(answered, Body):
        await answered.read_all(10_000_000_000)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("name", ["br", "zstd", "br, gzip", "x" * 500])
async def test_any_other_encoding_is_refused_by_its_name(
    clock: FakeClock, name: str, stream: bool
) -> None:
    failure = await failure_of(clock, packed(name, b"whatever"), stream=stream)
    assert f"encoded as {name.partition(',')[0][:40]}" in failure.message
    assert len(failure.message) < 120


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("name", ["gzip", "deflate"])
async def test_what_is_not_packed_as_it_says_is_no_answer(
    clock: FakeClock, name: str, stream: bool
) -> None:
    failure = await failure_of(clock, packed(name, b"\xffnot packed"), stream=stream)
    assert f"is no {name}" in failure.message


@pytest.mark.parametrize("stream", [False, True])
async def test_a_packed_answer_that_lacks_its_end_is_cut(clock: FakeClock, stream: bool) -> None:
    failure = await failure_of(clock, packed("gzip", gzip.compress(TEXT)[:-9]), stream=stream)
    assert failure.failure is FailureClass.TRUNCATED


@pytest.mark.parametrize("stream", [False, True])
async def test_a_bomb_is_not_unpacked(clock: FakeClock, stream: bool) -> None:
    """Of which 20 kB would be 20 MB."""
    failure = await failure_of(
        clock, packed("gzip", gzip.compress(b"0" * 20_000_000)), stream=stream
    )
    assert "larger than" in failure.message


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    "reply",
    [
        packed("gzip", gzip.compress(b'{"error":"no room"}'), 503),
        packed("gzip", gzip.compress(b'{"error":"no room"}')[:-9], 503),
        packed("gzip", gzip.compress(b'{"error":"no room"}'), 503)[:-9] + CUT,
        packed("gzip", b'{"error":"no room"}', 503),
        packed("br", b"whatever", 503),
    ],
    ids=["good", "short", "cut", "not packed", "unknown"],
)
async def test_a_refusal_stays_one_however_it_is_packed(
    clock: FakeClock, reply: bytes, stream: bool
) -> None:
    async with scripted(reply) as (_, url), client_of(url, clock) as (client, head):
        if stream:
            refused = await (await client.stream(head, b"{}")).to_response()
        else:
            refused = await client.request(head, b"{}")
    assert refused.status == 503


@pytest.mark.parametrize("unpack", [ContentDecoder(b"gzip").feed, ContentDecoder(b"deflate").feed])
def test_nothing_is_an_answer_without_a_body(unpack: Callable[[bytes], bytes]) -> None:
    assert unpack(b"") == b""


async def test_no_more_encodings_than_a_few_are_undone(clock: FakeClock) -> None:
    failure = await failure_of(clock, packed("gzip, " * 8 + "gzip", b"whatever"), stream=False)
    assert failure.message == "The backend's answer is encoded 9 times."
