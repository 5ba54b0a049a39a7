"""Calls that wait take whatever is free first: no prediction binds them before that."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from adapters.errors import BackendError, FailureClass
from gateway.clock import FakeClock, settle
from gateway.types import ApiError
from tests.gateway.assembled import POLICY, assembled, read

TWO = POLICY.replace("slots: 2, price: reserved", "slots: 1, concurrency: 1, price: reserved")
TWO = TWO.replace(
    "  burst:\n", "  den: {kind: fake, concurrency: 1, price: reserved, expect: 1s}\n  burst:\n"
).replace("chat, backends: [home, burst], slo: 2s", "chat, backends: [home, den], slo: 60s")
LISTED = TWO + "routes:\n- {name: fixed, use: [home, den], order: listed}\n"


async def test_a_call_goes_to_the_backend_that_is_free_first(
    tmp_path: Path, clock: FakeClock
) -> None:
    """It stood in line for the one that should have been, whose call runs on and on."""
    async with assembled(tmp_path, clock, TWO) as gateway:
        gateway.fake("home").runs_for = 30.0
        gateway.fake("den").runs_for = 2.0
        tasks = [gateway.start()[1] for _ in range(2)]
        await settle()
        state, task = gateway.start()
        await settle()
        assert state.backend is gateway.inner.active.backends["home"]
        await clock.advance(2.1)
        await settle()
        assert state.backend is gateway.inner.active.backends["den"]
        await gateway.until_done([*tasks, task], 1.0)
        row = await gateway.row(state.call.id)
        assert (row.backend, row.reason, row.queue_us > 0) == ("den", "RES_WAIT_OK", True)
        assert all(not one.in_flight for one in gateway.inner.active.backends.values())


async def test_a_route_that_lists_its_backends_says_where_a_call_waits(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock, LISTED) as gateway:
        gateway.fake("home").runs_for = 30.0
        first, second = gateway.start(), gateway.start()
        await gateway.until_done([first[1]], 1.0)
        assert not gateway.fake("den").calls
        await gateway.until_done([second[1]], 1.0)
        assert not gateway.fake("den").calls


async def test_a_backend_that_fails_loses_no_call_of_anothers_line(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock, TWO) as gateway:
        gateway.fake("home").runs_for = 3.0
        gateway.fake("den").runs_for = 1.0
        gateway.fake("den").answers = lambda _: BackendError(FailureClass.UNREACHABLE, "gone")
        started = [gateway.start() for _ in range(3)]
        await gateway.until_done([task for _, task in started], 0.5)
        rows = [await gateway.row(state.call.id) for state, _ in started]
        assert [(row.backend, row.outcome) for row in rows] == [("home", "success")] * 3


async def test_a_call_in_line_outlives_a_drain_and_a_reload(
    tmp_path: Path, clock: FakeClock
) -> None:
    """It stands where it stood, and where there is a line now."""
    async with assembled(tmp_path, clock, TWO) as gateway:
        for name in ("home", "den"):
            gateway.fake(name).runs_for = 5.0
        started = [gateway.start() for _ in range(5)]
        await settle()
        gateway.inner.set_draining("den", True)
        await clock.advance(5.1)
        assert len(gateway.fake("den").calls) <= 2, "its own line, and nobody from the other one"
        gateway.inner.set_draining("den", False)
        await gateway.inner.apply(read(TWO.replace("expect: 1s}", "expect: 2s}")))
        await gateway.until_done([task for _, task in started], 1.0)
        rows = [await gateway.row(state.call.id) for state, _ in started]
        assert {row.outcome for row in rows} == {"success"}
        assert len({row.id for row in rows}) == 5


async def test_a_call_that_would_be_answered_too_late_is_refused_at_once(
    tmp_path: Path, clock: FakeClock
) -> None:
    """And is told when the line should be shorter."""
    text = TWO.replace("backends: [home, den]", "backends: [home]")
    async with assembled(tmp_path, clock, text) as gateway:
        gateway.fake("home").runs_for = 300.0
        tasks = [gateway.start()[1]]
        await settle()
        await clock.advance(250.0)
        tasks += [gateway.start()[1] for _ in range(3)]
        await settle()
        with pytest.raises(ApiError) as refused:
            await gateway.ask(gateway.call_state())
        assert refused.value.status == 503
        assert "too late" in refused.value.message
        assert refused.value.headers["Retry-After"] == "400"
        await gateway.until_done(tasks, 50.0)


async def test_a_call_that_may_be_in_time_is_not_refused_by_a_guess(
    tmp_path: Path, clock: FakeClock
) -> None:
    """Nothing is known of how long calls run, and five seconds are guessed; the one that runs may
    end at any instant."""
    den = "den: {kind: fake, concurrency: 1, price: reserved, "
    text = TWO.replace(f"{den}expect: 1s}}", f"{den}expect: 5s, max_run: 1s}}")
    text = text.replace("backends: [home, den]", "backends: [den]")
    async with assembled(tmp_path, clock, text) as gateway, gateway.client() as client:
        gateway.fake("den").runs_for = 0.5
        body = {"model": "chat", "messages": [{"role": "user", "content": "hi"}]}
        asking = [
            asyncio.create_task(client.post("/v1/chat/completions", json=body)) for _ in range(2)
        ]
        while not all(each.done() for each in asking):
            await clock.advance(0.05)
        assert [(await each).status_code for each in asking] == [200, 200]


async def test_a_full_line_says_when_a_place_is_free(tmp_path: Path, clock: FakeClock) -> None:
    text = (
        TWO.replace("backends: [home, den]", "backends: [home]")
        .replace("slots: 1, concurrency: 1,", "slots: 1, concurrency: 1, max_queue: 1,")
        .replace("expect: 1s", "expect: 7s")
    )
    async with assembled(tmp_path, clock, text) as gateway:
        gateway.fake("home").runs_for = 7.0
        tasks = [gateway.start()[1] for _ in range(2)]
        await settle()
        with pytest.raises(ApiError) as refused:
            await gateway.ask(gateway.call_state())
        assert "queue_full" in refused.value.message
        assert refused.value.headers["Retry-After"] == "7"
        await gateway.until_done(tasks, 1.0)
