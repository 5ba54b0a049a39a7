"""The requests to one origin: what they carry, how long they may take, what an answer means."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

import pytest

from adapters.errors import BackendError, FailureClass
from adapters.http import EVENTS, Api, bearer
from adapters.settings import HttpSettings, Secret
from gateway.clock import FakeClock
from tests.adapters.servers import CUT, STALL, Scripted, answer, chunked, drive, scripted

KEY = Secret("sk-4711")


@contextlib.asynccontextmanager
async def asking(clock: FakeClock, *answers: bytes) -> AsyncIterator[tuple[Api, Scripted]]:
    """An API below ``/base``, and what it was sent."""
    async with scripted(*answers) as (script, origin):
        settings = HttpSettings(base_url=f"{origin}/base")
        api = Api(settings.base_url, clock, settings, headers=bearer(KEY), secrets=(KEY, None))
        api.start()
        try:
            yield api, script
        finally:
            await api.aclose()


async def test_every_request_carries_the_headers_and_goes_below_the_base(clock: FakeClock) -> None:
    async with asking(clock, answer(b"[]")) as (api, script):
        response = await api.ask("POST", "/things?n=1", b"{}")
    assert response.body == b"[]"
    [request] = script.requests
    assert (request.method, request.target, request.body) == ("POST", "/base/things?n=1", b"{}")
    assert request.headers["authorization"] == "Bearer sk-4711"
    assert request.headers["content-type"] == "application/json"


@pytest.mark.parametrize("status", [200, 204, 302, 404, 500])
async def test_any_status_is_an_answer_to_what_is_sent(clock: FakeClock, status: int) -> None:
    async with asking(clock, answer(status=status)) as (api, _):
        assert (await api.send("GET", "/")).status == status


async def test_what_is_asked_must_succeed_or_be_one_of_those_that_are_taken(
    clock: FakeClock,
) -> None:
    """A refusal is told without the key that the server repeats."""
    refused = answer({"error": "no sk-4711 here"}, 404)
    async with asking(clock, refused, refused) as (api, _):
        assert (await api.ask("GET", "/", also=(404,))).status == 404
        with pytest.raises(BackendError) as caught:
            await api.ask("GET", "/")
    assert caught.value.failure is FailureClass.GONE
    assert "no *** here" in caught.value.detail


@pytest.mark.parametrize(("within", "left"), [(3.0, 60.0), (60.0, 3.0)])
async def test_the_earlier_of_two_bounds_is_kept(
    clock: FakeClock, within: float, left: float
) -> None:
    async with asking(clock, STALL) as (api, _):
        began = clock.monotonic()
        with pytest.raises(BackendError) as caught:
            await drive(clock, api.send("GET", "/", within=within, deadline=began + left))
        assert caught.value.failure is FailureClass.TIMEOUT
        assert 3.0 <= clock.monotonic() - began <= 3.5


async def test_a_stream_is_opened_by_a_good_status_alone(clock: FakeClock) -> None:
    cut = answer(b'{"error": "no room"}', 503)[:-1] + CUT
    async with asking(clock, chunked(b"data: 1\n\n"), cut) as (api, script):
        head = api.head("GET", "/events", EVENTS)
        body = await api.open(head, None, clock.monotonic() + 9.0)
        assert await body.read_all(100) == b"data: 1\n\n"
        with pytest.raises(BackendError) as caught:
            await api.open(head, None, clock.monotonic() + 9.0)
    assert caught.value.failure is FailureClass.OVERLOADED
    assert script.requests[0].headers["accept"] == "text/event-stream"
