"""A backend that brings nothing to a job: another one is asked, whichever way the job has come."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from adapters.types import Call
from gateway.clock import FakeClock
from gateway.routing.answer_times import DOUBTED_UNKNOWN_S, UNKNOWN_S
from gateway.storage.base import LedgerRow
from gateway.storage.history import OWN_ROW
from tests.gateway.batches.gateways import input_of
from tests.gateway.jobs.platforms import FakePlatform
from tests.gateway.schedules.gateways import SchedulesGateway, with_schedules
from tests.waiting import until

EVER_S = 1e6
STEP_S = 2.0
STEPS_S = 8 * STEP_S
"""Between a silence's end and a look at the job: several steps, each with words to a store."""
CHAT = {"messages": [{"role": "user", "content": "hi"}]}
PATH = "/v1/chat/completions"
POLICY = """
version: 1
server: {tls: "off", access_log: false}
backends:
  home: {kind: fake, slots: null, price: %(price)s, max_run: 2h%(more)s}
  cloud: {kind: fake, slots: null, price: %(price)s, max_run: 2h%(more)s}
  second: {kind: fake, price: tokens}
models:
  here: {task: chat, backends: [home, second], slo: 60s}
  there: {task: chat, backends: [cloud, second], slo: 60s}
routes:
  - {name: all, use: [home, cloud, second], order: listed, repeat: %(repeat)s}
prices:
  tokens: {per_million_input: 1, per_million_output: 1, as_of: 2026-11-01, source: test}
  reserved: {per_hour: 3.6, as_of: 2026-11-01, source: test}
  seconds: {per_second: 0.001, as_of: 2026-11-01, source: test}
plans:
  default: {requests: 1000/minute, concurrent: 100, spend: 5 USD/month}
"""
OFTEN = """schedules:
  often: {cron: "1 0 1 1 *", key: key_night, overlap: skip, job: {model: %s,
    input: {messages: [{role: user, content: hi}]}}}
"""

Way = Callable[[SchedulesGateway, httpx.AsyncClient, str], Awaitable[None]]
"""On which a job of a model comes."""


async def as_job(gateway: SchedulesGateway, client: httpx.AsyncClient, model: str) -> None:
    await gateway.post(client, model, input=CHAT)


async def as_call(gateway: SchedulesGateway, client: httpx.AsyncClient, model: str) -> None:
    headers = {"Prefer": "respond-async"}
    answer = await client.post(PATH, json={"model": model, **CHAT}, headers=headers)
    assert answer.status_code == 202


async def as_line(gateway: SchedulesGateway, client: httpx.AsyncClient, model: str) -> None:
    line = {"model": model, **CHAT}
    await gateway.batch(client, input_of([line], PATH), endpoint=PATH)


async def by_a_door(gateway: SchedulesGateway, client: httpx.AsyncClient, model: str) -> None:
    answer = await client.post(f"/runpod/v2/{model}/run", json={"input": CHAT})
    assert answer.status_code == 200


async def by_the_clock(gateway: SchedulesGateway, client: httpx.AsyncClient, model: str) -> None:
    await gateway.until_runs(1)


class Silent(FakePlatform):
    """One that says for ever that it runs the job."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(clock, runs_for=EVER_S)
        self.waits = clock


class Unasked(Silent):
    """One that takes the job and answers no question."""

    def submit(self, call: Call) -> str:
        self.down = True
        return super().submit(call)


class Nameless(Silent):
    """One that takes the job, and names it when that has been given up."""

    def submit(self, call: Call) -> str:
        self.names.clear()
        self.waits.call_later(UNKNOWN_S + 2 * STEP_S, self.names.set)
        return super().submit(call)


def policy(price: str = "tokens", more: str = "", repeat: str = "auto") -> str:
    return POLICY % {"price": price, "more": more, "repeat": repeat}


@contextlib.asynccontextmanager
async def with_silence(
    folder: Path, clock: FakeClock, text: str, platform: FakePlatform
) -> AsyncIterator[tuple[SchedulesGateway, httpx.AsyncClient]]:
    async with with_schedules(folder, clock, text, platform) as gateway:
        gateway.fake("home").runs_for = EVER_S
        async with gateway.client() as client:
            yield gateway, client


async def ended(gateway: SchedulesGateway, number: int = 0) -> tuple[list[LedgerRow], float]:
    """The rows of the job that came so late, its own first, and the seconds that it took."""
    rows: list[LedgerRow] = []

    async def is_over() -> bool:
        await gateway.clock.advance(STEP_S)
        asked = [*(call.id for call in gateway.fake("home").calls), *gateway.platform.submits]
        if len(asked) > number:
            rows[:] = sorted(await gateway.rows(asked[number]), key=lambda row: row.id)
        return bool(rows) and rows[0].ended_at is not None

    await until(is_over, "the job has ended", every_s=0.001)
    job = await gateway.jobs.store.get(rows[0].id)
    if job is not None and job.ended_at is not None:
        assert (job.state == "succeeded") == (rows[0].outcome == "success")
        assert job.cost_nano == sum(row.cost_nano for row in rows)
    assert rows[0].ended_at is not None
    return rows, rows[0].ended_at - rows[0].started_at


WAYS: list[Way] = [as_job, as_call, as_line, by_a_door, by_the_clock]


@pytest.mark.parametrize(
    ("way", "model", "platform"),
    [
        *((way, "here", FakePlatform) for way in WAYS),
        *((way, "there", Silent) for way in WAYS),
        (as_job, "there", Unasked),
        (as_job, "there", Nameless),
    ],
)
async def test_a_job_that_finds_silence_is_answered_by_the_next_backend(
    way: Way, model: str, platform: type[FakePlatform], tmp_path: Path, clock: FakeClock
) -> None:
    text = policy() + (OFTEN % model if way is by_the_clock else "")
    async with with_silence(tmp_path, clock, text, platform(clock)) as (gateway, client):
        await way(gateway, client, model)
        [row], took_s = await ended(gateway)
        assert (row.backend, row.reason, row.outcome) == ("second", "FAILOVER", "success")
        assert UNKNOWN_S <= took_s <= UNKNOWN_S + STEPS_S
        assert row.history is not None
        [left] = row.history.attempts
        silent = "home" if model == "here" else "cloud"
        assert (left.backend, left.failure, left.entry) == (silent, "timeout", 0)
        assert left.seconds >= UNKNOWN_S


@pytest.mark.parametrize("price", ["tokens", "reserved"])
async def test_the_next_job_leaves_it_sooner(price: str, tmp_path: Path, clock: FakeClock) -> None:
    async with with_silence(tmp_path, clock, policy(price), Silent(clock)) as (gateway, client):
        took = list[float]()
        for number in range(3):
            await as_job(gateway, client, "there")
            rows, took_s = await ended(gateway, number)
            assert rows[0].outcome == "success"
            took.append(took_s)
        assert took[0] >= UNKNOWN_S
        assert max(took[1:]) <= DOUBTED_UNKNOWN_S + STEPS_S


@pytest.mark.parametrize("repeat", ["always", "auto"])
@pytest.mark.parametrize(("model", "said"), [("there", True), ("here", False)])
async def test_at_a_price_by_the_second_the_policy_says_whether_it_is_left_and_what_ran_is_charged(
    repeat: str, model: str, said: bool, tmp_path: Path, clock: FakeClock
) -> None:
    text = policy("seconds", ", answer: 30s", repeat)
    async with with_silence(tmp_path, clock, text, Silent(clock)) as (gateway, client):
        await as_job(gateway, client, model)
        rows, took_s = await ended(gateway)
        assert rows[0].history is not None
        [left] = rows[0].history.attempts
        assert (left.failure, left.seconds >= 30.0) == ("timeout", True)
        assert took_s <= 30.0 + STEPS_S
        charged = next(row for row in rows if row.error)
        assert 0.030e9 <= charged.cost_nano <= 0.033e9
        if repeat == "always":
            assert (rows[0].outcome, rows[0].backend, left.entry) == ("success", "second", 1)
            assert (charged.id, charged.error) == (f"{rows[0].id}#1", "timeout")
        else:
            assert (rows[0].outcome, left.entry, charged.id) == ("error", OWN_ROW, rows[0].id)
            assert rows[0].history.not_asked == (("second", "repeat"),)
        if said:
            assert gateway.platform.jobs["p1"].stopped_at is not None


async def test_no_guess_stops_a_job_whose_run_is_paid_by_the_second(
    tmp_path: Path, clock: FakeClock
) -> None:
    text = policy("seconds", repeat="always")
    platform = FakePlatform(clock, runs_for=3 * UNKNOWN_S)
    async with with_silence(tmp_path, clock, text, platform) as (gateway, client):
        await as_job(gateway, client, "there")
        [row], took_s = await ended(gateway)
        assert (row.backend, row.outcome) == ("cloud", "success")
        assert took_s >= 3 * UNKNOWN_S


async def test_a_run_that_is_longer_than_it_may_be_goes_on_elsewhere_where_that_bills_nothing(
    tmp_path: Path, clock: FakeClock
) -> None:
    text = policy(more=", answer: none").replace("max_run: 2h", "max_run: 20s")
    async with with_silence(tmp_path, clock, text, Silent(clock)) as (gateway, client):
        await as_job(gateway, client, "there")
        [row], took_s = await ended(gateway)
        assert (row.outcome, row.backend) == ("success", "second")
        assert took_s <= 20.0 + STEPS_S


async def test_a_wait_for_the_store_is_no_silence(tmp_path: Path, clock: FakeClock) -> None:
    """What is next is not written down yet: the backend was not asked."""
    text = policy(more=", answer: 20s")
    async with with_silence(tmp_path, clock, text, FakePlatform(clock)) as (gateway, client):
        move, moved = gateway.jobs.store.move, asyncio.Event()

        async def late(*given: Any, **more: Any) -> Any:
            await moved.wait()
            return await move(*given, **more)

        gateway.jobs.store.move = late  # type: ignore[method-assign]
        await as_job(gateway, client, "there")
        await until(lambda: gateway.inner.active.backends["cloud"].in_flight == 1, "it has a place")
        await clock.advance(60.0)
        moved.set()
        [row], _ = await ended(gateway)
        assert (row.backend, row.outcome) == ("cloud", "success")
