"""What goes wrong with clients of HTTP platforms in general, played on every kind that is one."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import time
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from adapters.base import Backend
from adapters.errors import BackendError, FailureClass, malformed
from benchmarks.platforms import PLATFORMS, answering, backend_of, call_of
from gateway.clock import settle
from tests.adapters.servers import CUT, RawServer, Request, answer, read_request, scripted

UNREADABLE = malformed("").failure
PROXIES = ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")


class Deaf:
    """Reads each request whole and closes the connection without a word."""

    def __init__(self) -> None:
        self.requests: list[Request] = []

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.requests.append(await read_request(reader))


@contextlib.asynccontextmanager
async def started(name: str, address: str, **settings: Any) -> AsyncIterator[Backend]:
    backend = backend_of(name, address, **settings)
    await backend.start()
    try:
        yield backend
    finally:
        await backend.aclose()


@pytest.mark.parametrize("name", PLATFORMS)
async def test_the_proxies_of_the_environment_are_not_asked(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = Deaf()
    async with RawServer(proxy.talk).running() as server, answering() as (address, counts):
        for variable in PROXIES:
            monkeypatch.setenv(variable, server.url)
        async with started(name, address) as backend:
            await backend.invoke(call_of(name, "call-1"))
        assert counts.requests[name] == 1
        assert proxy.requests == []


@pytest.mark.parametrize("name", PLATFORMS)
async def test_a_submit_whose_answer_is_lost_is_ambiguous_and_sent_once(name: str) -> None:
    """No platform takes a key by which a second submit would be known for the first."""
    platform = Deaf()
    async with (
        RawServer(platform.talk).running() as server,
        started(name, server.url) as backend,
    ):
        with pytest.raises(BackendError) as caught:
            await backend.invoke(call_of(name, "call-1"))
        assert caught.value.failure is FailureClass.AMBIGUOUS
        assert caught.value.failure.maybe_running
        await settle()
        assert len([one for one in platform.requests if one.body]) == 1


SERVICE_UNAVAILABLE = {
    **dict.fromkeys(PLATFORMS, FailureClass.OVERLOADED),
    "cog": FailureClass.LOADING,  # its setup has not ended
    "runpod_direct": FailureClass.UNREACHABLE,  # no worker has answered
}
"""What the status 503 means at each."""
REFUSED = {
    "whole": answer(b'{"error": "no room"}', 503),
    "cut": answer(b'{"error": "no room"}', 503)[:-1] + CUT,
    "malformed": b"HTTP/1.1 503 No\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n\r\n",
}


@pytest.mark.parametrize("stream", [False, True], ids=["answer", "stream"])
@pytest.mark.parametrize("body", REFUSED)
@pytest.mark.parametrize("name", PLATFORMS)
async def test_a_refusal_means_what_its_head_says_whatever_becomes_of_its_body(
    name: str, body: str, stream: bool
) -> None:
    """So that another backend is asked: it was refused, however badly it was told."""
    settings = {"stream_path": "/"} if name == "http" else {}
    async with (
        scripted(REFUSED[body]) as (script, url),
        started(name, url, **settings) as backend,
    ):
        with pytest.raises(BackendError) as caught:
            await backend.invoke(msgspec.structs.replace(call_of(name, "call-1"), stream=stream))
        assert caught.value.failure is SERVICE_UNAVAILABLE[name]
        assert len(script.requests) == 1


@pytest.mark.parametrize("name", PLATFORMS)
def test_a_backend_is_built_outside_of_any_loop_and_lives_in_the_one_that_starts_it(
    name: str,
) -> None:
    """Clients of other makes are bound to the loop in which they were made."""

    async def serve(backend: Backend, address: str) -> None:
        await backend.start()
        await backend.invoke(call_of(name, "call-1"))
        await backend.aclose()

    async def twice() -> None:
        async with answering() as (address, counts):
            built = await asyncio.to_thread(backend_of, name, address)
            await serve(built, address)
            assert counts.requests[name] == 1

    for _ in range(2):
        asyncio.run(twice())


@pytest.mark.parametrize("name", PLATFORMS)
async def test_a_backend_that_was_closed_sends_nothing(name: str) -> None:
    async with answering() as (address, counts):
        async with started(name, address) as backend:
            pass
        with pytest.raises(BackendError) as caught:
            await backend.invoke(call_of(name, "call-1"))
        assert caught.value.failure is FailureClass.UNREACHABLE
        assert counts.requests[name] == 0


PAGE = answer(b"<html><h1>Down for maintenance</h1></html>", content_type="text/html")
NO_ANSWER = {
    "a web page": PAGE,
    "nothing": answer(b""),
    "cut JSON": answer(b'{"id": "x", "sta'),
    "no JSON": answer(b"OK"),
    "deep JSON": answer(b"[" * 100_000),
    "no UTF-8": answer(b"\xff\xfe\xfd"),
    "unknown packing": answer(b"whatever", Content_Encoding="br"),
    "no packing": answer(b"{}", Content_Encoding="gzip"),
}
"""What a broken server or something in front of it may answer with the status 200."""
TAKEN = frozenset(("runpod", "replicate"))
"""Kinds whose submit may have been taken whatever its answer looks like: it names a job."""


@pytest.mark.parametrize("what", NO_ANSWER)
@pytest.mark.parametrize("name", PLATFORMS)
async def test_a_success_that_is_no_answer_is_a_failure(name: str, what: str) -> None:
    async with scripted(*[NO_ANSWER[what]] * 3) as (_, url), started(name, url) as backend:
        call = msgspec.structs.replace(call_of(name, "call-1"), deadline=time.monotonic() + 5.0)
        with pytest.raises(BackendError) as caught:
            await backend.invoke(call)
    expected = {UNREADABLE, FailureClass.AMBIGUOUS} if name in TAKEN else {UNREADABLE}
    assert caught.value.failure in expected
    assert caught.value.message


@pytest.mark.parametrize("name", PLATFORMS)
async def test_no_compression_is_asked_for_and_what_comes_is_unpacked(name: str) -> None:
    body = gzip.compress(msgspec.json.encode(PLATFORMS[name].answer).replace(b"$ID", b"call-1"))
    packed = answer(body, Content_Encoding="gzip")
    async with scripted(packed) as (script, url), started(name, url) as backend:
        reply = await backend.invoke(call_of(name, "call-1"))
    assert b"spill gate" in reply.body
    assert script.requests[0].headers["accept-encoding"] == "identity"


@pytest.mark.parametrize("wait", ["inf", "NaN", "1e400", "9" * 500, "-5", "soon", "²"])
@pytest.mark.parametrize("name", PLATFORMS)
async def test_no_retry_after_is_past_all_bounds(name: str, wait: str) -> None:
    refused = answer(b'{"error": "no room"}', 503, Retry_After=wait, Retry_After_Ms=wait)
    async with scripted(refused) as (_, url), started(name, url) as backend:
        with pytest.raises(BackendError) as caught:
            await backend.invoke(call_of(name, "call-1"))
    assert caught.value.failure is SERVICE_UNAVAILABLE[name]
    assert caught.value.retry_after is None or 0 <= caught.value.retry_after <= 86_400
