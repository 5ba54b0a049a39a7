"""A backend's ``retry_budget`` is a cap of what is sent there after a failure, by whatever way it
comes, and nobody uses it up who is not sent there."""

from __future__ import annotations

from pathlib import Path

import pytest

from adapters.errors import BackendError, FailureClass
from adapters.types import Call
from gateway.clock import FakeClock, settle
from tests.gateway.assembled import AssembledGateway, assembled
from tests.waiting import until

POLICY = """
version: 1
server: {tls: "off", access_log: false}
backends:
  a: {kind: fake, price: t, expect: 1s, concurrency: 100}
  c: {kind: fake, price: t, expect: 1s}
  b: {kind: fake, price: t, expect: 1s, retry_budget: 0%(more)s}
models:
  chat: {task: chat, backends: [a, c, b], slo: 5s}
prices:
  t: {per_million_input: 1, per_million_output: 1, as_of: 2026-11-01, source: test}
routes:
  - {name: all, use: [a, c, b], order: listed%(route)s}
limits: {backends: {%(limits)s}}
plans: {default: {concurrent: 1000}}
"""
FREE = 10
"""Repetitions a minute that are within every budget."""


def policy(limits: str = "", more: str = "", route: str = "") -> str:
    return POLICY % {"limits": limits, "more": more, "route": route}


def broken(_: Call) -> BackendError:
    return BackendError(FailureClass.FAILED, "it broke")


def none_rests(gateway: AssembledGateway) -> None:
    for backend in gateway.inner.active.backends.values():
        backend.rests.health.scopes.clear()


def sent(gateway: AssembledGateway, *names: str) -> list[int]:
    return [len(gateway.fake(name).calls) for name in names]


WAYS = {
    "the one before it has no room": (policy("c: {requests: 1/minute}"), "a", [60, 1, FREE]),
    "the one before it fails too": (policy(), "ac", [60, 60, FREE]),
    "it is the next one": (policy().replace("[a, c, b]", "[a, b, c]"), "a", [60, 50, FREE]),
}


@pytest.mark.parametrize(("text", "failing", "expected"), WAYS.values(), ids=list(WAYS))
async def test_no_way_leads_past_the_budget(
    text: str, failing: str, expected: list[int], tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock, text) as gateway:
        for name in failing:
            gateway.fake(name).answers = broken
        for _ in range(60):
            none_rests(gateway)
            _, task = gateway.start()
            await gateway.until_done([task], step=0.1)
        assert sent(gateway, "a", "c", "b") == expected


async def test_who_waits_in_line_takes_room_when_it_begins(
    tmp_path: Path, clock: FakeClock
) -> None:
    """All of them came there while there was room."""
    text = policy(more=", concurrency: 1").replace("[a, c, b]", "[a, b]")
    async with assembled(tmp_path, clock, text) as gateway:
        gateway.fake("a").answers, gateway.fake("a").runs_for = broken, 0.5
        tasks = [gateway.start(body=b"%d" % number)[1] for number in range(20)]
        await until(lambda: gateway.fake("a").running == 20, "all are at the first", within_s=5)
        await gateway.until_done(tasks, step=0.5)
        assert sent(gateway, "a", "b") == [20, FREE]
        assert sum(task.exception() is None for task in tasks) == FREE
        assert not gateway.inner.dispatcher.held
        assert all(not one.in_flight for one in gateway.inner.active.backends.values())


async def test_who_is_not_sent_uses_no_budget_up(tmp_path: Path, clock: FakeClock) -> None:
    """The budget of the backend, and that of the route: what its own limit kept away was none."""
    text = policy("b: {concurrent: 1}", route=", retries: {budget: 0}")
    async with assembled(tmp_path, clock, text.replace("[a, c, b]", "[a, b]")) as gateway:
        gateway.fake("a").answers = broken
        gateway.fake("b").runs_for = 5.0
        _, running = gateway.start()
        await gateway.until_asked("b")
        for _ in range(20):
            none_rests(gateway)
            _, task = gateway.start()
            await gateway.until_done([task], step=0.01)
        await gateway.until_done([running], step=0.5)
        gateway.fake("b").runs_for = 0.1
        for _ in range(20):
            none_rests(gateway)
            _, task = gateway.start()
            await gateway.until_done([task], step=0.1)
        assert sent(gateway, "b") == [FREE]


LINES = """
version: 1
server: {tls: "off", access_log: false}
backends:
  quick: {kind: fake, price: owned, expect: 0.1s, slots: 100, concurrency: 100}
  home: {kind: fake, price: owned, expect: 1s, concurrency: 1}
  den: {kind: fake, price: owned, expect: 1s, concurrency: 1, retry_budget: 0}
models:
  chat: {task: chat, backends: [quick, home, den], slo: 60s}
  at-home: {task: chat, backends: [home]}
  at-den: {task: chat, backends: [den]}
prices:
  owned: {per_hour: 3.6, as_of: 2026-11-01, source: test}
plans: {default: {}}
"""


async def test_a_call_goes_to_no_other_line_that_has_no_room_for_it(
    tmp_path: Path, clock: FakeClock
) -> None:
    """It keeps its place where it stands, and is answered there."""
    async with assembled(tmp_path, clock, LINES) as gateway:
        gateway.fake("quick").answers, gateway.fake("quick").runs_for = broken, 0.5
        gateway.fake("home").runs_for = 30.0
        tasks = [gateway.start("at-home")[1], gateway.start("at-den")[1]]
        await settle()
        gateway.fake("home").runs_for = 0.5
        tasks += [gateway.start(body=b"%d" % number)[1] for number in range(20)]
        await until(lambda: gateway.fake("quick").running == 20, "all are there", within_s=5)
        await gateway.until_done(tasks, step=0.25)
        assert sent(gateway, "quick", "home", "den") == [20, 11, 1 + FREE]
        assert all(task.exception() is None for task in tasks)
        assert all(not one.in_flight for one in gateway.inner.active.backends.values())
