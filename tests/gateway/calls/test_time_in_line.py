"""Time in line is no part of a run; who has too little left is not sent, and is nobody's fault."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
import msgspec
import pytest

from gateway.calls.state import CallState
from gateway.clock import FakeClock
from gateway.routing.answer_times import SHORTEST_S
from gateway.routing.health import HEALTHY
from gateway.types import ApiError
from tests.gateway.assembled import AssembledGateway, assembled
from tests.waiting import until

RUN_S = 50.0
POLICY = """
version: 1
server: {tls: "off", access_log: false}
backends:
  only: {kind: fake, price: tokens, slots: 1, concurrency: 1, max_run: 60s%s}
models:
  chat: {task: chat, backends: [only], slo: 5s%s}
prices:
  tokens: {per_million_input: 1, per_million_output: 1, as_of: 2026-11-01, source: test}
routes:
  - {name: all, use: [only], order: listed}
plans:
  default: {spend: 5 USD/month}
"""
CHAT = {"model": "chat", "messages": [{"role": "user", "content": "hi"}]}


def policy(backend: str = "", model: str = "") -> str:
    return POLICY % (backend, model)


async def posted(
    gateway: AssembledGateway, client: httpx.AsyncClient, number: int, *, stream: bool = False
) -> asyncio.Task[httpx.Response]:
    """A call that has come, and runs or stands in line."""
    asking = asyncio.ensure_future(
        client.post("/v1/chat/completions", json={**CHAT, "stream": stream})
    )
    only = gateway.inner.active.backends["only"]
    await until(lambda: only.in_flight >= number, "it has come", every_s=0.001)
    return asking


@pytest.mark.parametrize("waits", [1, 2])
async def test_a_call_that_has_waited_has_all_of_its_run(
    waits: int, tmp_path: Path, clock: FakeClock
) -> None:
    """However little of the longest run would be left since it came."""
    text = policy(model=", max_wait: 10m")
    async with assembled(tmp_path, clock, text) as gateway, gateway.client() as client:
        gateway.fake("only").runs_for = RUN_S
        asking = [await posted(gateway, client, 1 + number) for number in range(1 + waits)]
        await gateway.until_done(asking, step=1.0)
        assert [one.result().status_code for one in asking] == [200] * (1 + waits)
        assert gateway.inner.active.backends["only"].rests.health == HEALTHY


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_who_gets_no_place_for_as_long_as_he_may_wait_is_told_and_charged_nothing(
    stream: bool, tmp_path: Path, clock: FakeClock
) -> None:
    text = policy(model=", max_wait: 10s").replace("access_log", "stream_comment: 0s, access_log")
    async with assembled(tmp_path, clock, text) as gateway, gateway.client() as client:
        gateway.fake("only").runs_for = RUN_S
        first = await posted(gateway, client, 1)
        second, begun = await posted(gateway, client, 2, stream=stream), clock.monotonic()
        await gateway.until_done([second], step=0.5)
        answer = second.result()
        assert 10.0 <= clock.monotonic() - begun <= 12.0
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "no_backend")
        assert answer.headers["x-should-retry"] == "true"
        assert answer.headers["retry-after"]
        await gateway.until_done([first], step=1.0)
        assert first.result().status_code == 200
        assert len(gateway.fake("only").calls) == 1


@pytest.mark.parametrize(
    ("seen", "status"),
    [
        pytest.param({}, 200, id="a guess refuses nobody"),
        pytest.param({"init": 10.0}, 503, id="a start that was seen to take longer does"),
    ],
)
async def test_a_start_that_is_longer_than_a_call_may_wait_refuses_it_where_that_is_known(
    seen: dict[str, float], status: int, tmp_path: Path, clock: FakeClock
) -> None:
    """Runs are short, and so is the wait by default."""
    text = policy().replace("max_run: 60s", "max_run: 1s").replace("slots: 1,", "slots: 0,")
    async with assembled(tmp_path, clock, text) as gateway, gateway.client() as client:
        only = gateway.fake("only")
        only.starts_in, only.start_stages = 10.0, seen
        answer = await client.post("/v1/chat/completions", json=CHAT)
        assert answer.status_code == status, answer.text


async def test_a_call_may_wait_for_as_long_as_its_model_promises_at_the_most(
    tmp_path: Path, clock: FakeClock
) -> None:
    """Also where the longest run is shorter."""
    text = policy().replace("max_run: 60s", "max_run: 2s")
    async with assembled(tmp_path, clock, text) as gateway, gateway.client() as client:
        gateway.fake("only").runs_for = 1.5
        asking = [await posted(gateway, client, 1 + number) for number in range(3)]
        await gateway.until_done(asking, step=0.25)
        assert [one.result().status_code for one in asking] == [200, 200, 200]


# --- a deadline of the caller's own ---------------------------------------------------------------


def until_then(gateway: AssembledGateway, seconds: float) -> CallState:
    """A call whose caller waits for so long, line and all."""
    state = gateway.call_state()
    deadline = gateway.clock.monotonic() + seconds
    state.call = msgspec.structs.replace(state.call, deadline=deadline)
    return state


async def behind_another(gateway: AssembledGateway, state: CallState) -> asyncio.Task[object]:
    """The call, in line behind one that runs."""
    gateway.fake("only").runs_for = RUN_S
    _, first = gateway.start()
    await gateway.until_asked("only")
    task: asyncio.Task[object] = asyncio.ensure_future(gateway.ask(state))
    await until(lambda: gateway.inner.active.backends["only"].in_flight == 2, "it is in line")
    await gateway.until_done([first, task], step=0.05 if state.call.deadline < 100 else 1.0)
    return task


async def test_a_call_that_could_not_end_in_its_time_is_not_sent(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock, policy()) as gateway:
        task = await behind_another(gateway, until_then(gateway, RUN_S + 0.5))
        error = task.exception()
        assert isinstance(error, ApiError)
        assert (error.status, error.code) == (503, "no_backend")
        assert len(gateway.fake("only").calls) == 1
        assert gateway.inner.active.backends["only"].in_flight == 0
        assert "(0 holds" in repr(gateway.inner.shared)


@pytest.mark.parametrize(
    ("left_s", "blamed"), [(10.0, False), (SHORTEST_S - 1.0, False), (60.0, True)]
)
async def test_whose_time_is_over_soon_after_it_was_sent_says_nothing_of_the_backend(
    left_s: float, blamed: bool, tmp_path: Path, clock: FakeClock
) -> None:
    """What has had a run's time, and has not answered, does."""
    async with assembled(tmp_path, clock, policy(", expect: 1s")) as gateway:
        gateway.fake("only").runs_for = 1e6
        task = asyncio.ensure_future(gateway.ask(until_then(gateway, left_s)))
        await gateway.until_done([task], step=0.5)
        error = task.exception()
        assert isinstance(error, ApiError)
        assert (error.status, error.code) == (504, "backend_timeout")
        assert await gateway.spent() == 0
        only = gateway.inner.active.backends["only"]
        assert (only.rests.health != HEALTHY) is blamed
