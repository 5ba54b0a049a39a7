"""A batch takes what nobody else wants: jobs of all users begin before its lines, and a call on its
connection before any line that has not begun."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx

from adapters.fake import Fake
from gateway.clock import FakeClock
from gateway.planning.line import NORMAL
from tests.gateway.batches.gateways import BatchesGateway, input_of, with_batches
from tests.gateway.jobs.test_fairness import FEW, SHARE, TEXT, USERS, accept, begun
from tests.waiting import until

LINES, MANY, SLOTS = 2_000, 150, 4
JSON = {"content-type": "application/json"}
INPUT = input_of({"x": n} for n in range(LINES))


async def lines_begun(gateway: BatchesGateway, most: int) -> None:
    async def enough() -> bool:
        await gateway.clock.advance(0.1)
        return len(gateway.fake("home").calls) >= most

    await until(enough, f"{most} lines have begun", every_s=0.001)


async def busy_with_lines(
    gateway: BatchesGateway, client: httpx.AsyncClient, lines: int, **asked: str
) -> Fake:
    """The backend, at which so many lines of a batch have begun; each runs a second."""
    home = gateway.fake("home")
    home.slots, home.runs_for = SLOTS, 1.0
    await gateway.batch(client, INPUT, **asked)
    await lines_begun(gateway, lines)
    return home


async def a_tenth(gateway: BatchesGateway) -> None:
    """A tenth of a second goes by."""
    await gateway.clock.advance(0.1)
    await asyncio.sleep(0.001)


async def test_ten_users_wait_no_longer_than_twice_their_share_behind_many_jobs_and_a_batch(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with with_batches(tmp_path, clock, text=TEXT) as gateway, gateway.client() as client:
        home = await busy_with_lines(gateway, client, SLOTS)
        home.slots = 0  # nothing more begins before all are in line
        await accept(gateway, "many", MANY)
        few = [id for n in range(USERS) for id in await accept(gateway, f"user{n}", FEW)]
        before = len(home.calls)
        home.slots = SLOTS

        first = (await begun(gateway, before + 2 * SHARE))[before:]

        waited = max(first.index(id) for id in few)
        at_backend = SLOTS  # lines that stood there when the others came
        assert waited < 2 * SHARE
        assert sum(call.body.startswith(b'{"x"') for call in home.calls[before:]) <= at_backend


async def test_a_call_on_its_connection_is_the_next_that_begins(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with with_batches(tmp_path, clock, text=TEXT) as gateway, gateway.client() as client:
        home = await busy_with_lines(gateway, client, 5 * SLOTS)
        home.runs_for = 5.0  # so that each slot has its line, and others wait
        queue = gateway.inner.active.backends["home"].queue
        await until(lambda: home.running == SLOTS, "every slot has a line")
        body = b'{"online":0}'
        asking = asyncio.ensure_future(client.post("/v1/infer/any", content=body, headers=JSON))
        await until(lambda: queue.waiting_first > queue.waiting_below(NORMAL), "it waits")
        before = len(home.calls)
        while not asking.done():
            await a_tenth(gateway)
        assert home.calls[before].body == body


async def test_calls_that_come_now_and_then_find_a_slot_free(
    tmp_path: Path, clock: FakeClock
) -> None:
    """The first has told of the others: for a minute the lines leave one free."""
    async with with_batches(tmp_path, clock, text=TEXT) as gateway, gateway.client() as client:
        home = await busy_with_lines(gateway, client, 5 * SLOTS)
        for number in range(5):
            body = b'{"online":%d}' % number
            asking = asyncio.ensure_future(client.post("/v1/infer/any", content=body, headers=JSON))
            if number:  # while time stands still
                await until(lambda b=body: b in {call.body for call in home.calls}, "it began")  # type: ignore[misc]
            while not asking.done():
                await a_tenth(gateway)
            for _ in range(50):  # what runs ends, and lines begin again
                await a_tenth(gateway)
            assert home.running < SLOTS
        begun = len(home.calls)
        await gateway.clock.advance(61.0)
        await lines_begun(gateway, begun + 5 * SLOTS)

        async def full() -> bool:
            await gateway.clock.advance(0.1)
            return home.running == SLOTS

        await until(full, "every slot has a line again", every_s=0.001)


async def test_a_batch_that_is_short_of_time_leaves_no_slot_free(
    tmp_path: Path, clock: FakeClock
) -> None:
    """2,000 lines of a second at four slots take more than the five minutes that it has."""
    async with with_batches(tmp_path, clock, text=TEXT) as gateway, gateway.client() as client:
        window = {"completion_window": "5m"}
        home = await busy_with_lines(gateway, client, 20 * SLOTS, **window)  # fed without a pace
        body = b'{"online":0}'
        asking = asyncio.ensure_future(client.post("/v1/infer/any", content=body, headers=JSON))
        while not asking.done():
            await a_tenth(gateway)
        running = []
        for _ in range(50):
            await a_tenth(gateway)
            running.append(home.running)
        assert running.count(SLOTS) > 25
