"""What waits is sent at least once by one id, and never what was not settled."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest

from gateway.clock import FakeClock, SystemClock
from gateway.events.addresses import SystemResolver
from gateway.events.client import WebhookClient
from gateway.events.pauses import FIRST_S, LONGEST_S, pause_s, rest_s
from gateway.metrics import Metrics
from gateway.policy.sections.webhooks import JobWebhooks
from gateway.storage.outbox import Message, Outbox
from tests.gateway.events.receivers import receiving, saying
from tests.gateway.events.senders import USAGE, PlayedClient, sender_of, sent_all, settings
from tests.gateway.storage.books import OpenBooks
from tests.gateway.storage.sqlite.ledger_rows import open_row, settled_row

LEASE_S = 45.0


async def test_a_settled_call_is_told_to_the_penny(open_books: OpenBooks, clock: FakeClock) -> None:
    client = PlayedClient()
    row = settled_row(
        "req_1", tags={"team": "nlp"}, cost_nano=116_000, gpu_us=1_500_000, output_tokens=7
    )
    async with open_books() as (ledger, outbox, *_):
        sender = sender_of(outbox, client, clock)
        await sender.subscribe()
        await ledger.settle([row])
        await sent_all(sender)
    [sent] = client.sent
    told = json.loads(sent.body)
    assert (sent.id, told["type"]) == ("usage_req_1", "usage.settled")
    assert told["data"]["id"] == "req_1"
    assert told["data"]["cost_usd"] == "0.000116"
    assert told["data"]["units"] == {
        "requests": 1, "input_tokens": 0, "output_tokens": 7, "gpu_seconds": "1.5",
    }  # fmt: skip
    assert (told["data"]["user"], told["data"]["tags"]) == ("alice", {"team": "nlp"})


async def test_rows_are_told_in_batches_where_the_policy_says_so(
    open_books: OpenBooks, clock: FakeClock
) -> None:
    client = PlayedClient()
    batched = msgspec.structs.replace(USAGE, batch=3)
    async with open_books() as (ledger, outbox, *_):
        wanted = settings(endpoints={"billing": batched})
        sender = sender_of(outbox, client, clock, settings=wanted)
        await sender.subscribe()
        await ledger.settle([settled_row(f"r{number}") for number in range(5)])
        await sent_all(sender)
    told = [json.loads(one.body)["data"]["rows"] for one in client.sent]
    assert [[row["id"] for row in rows] for rows in told] == [["r0", "r1", "r2"], ["r3", "r4"]]


async def test_a_receiver_that_fails_is_asked_again_by_one_message_until_it_takes_it(
    open_books: OpenBooks, clock: FakeClock
) -> None:
    """All eight of the first round fail; then one goes ahead, and the rest follow it."""
    client = PlayedClient([500] * 8 + [None])
    async with open_books() as (ledger, outbox, *_):
        sender = sender_of(outbox, client, clock)
        await sender.subscribe()
        await ledger.settle([settled_row(f"r{number}") for number in range(8)])
        await sent_all(sender)
        assert len(client.sent) == 8
        await sent_all(sender)
        assert len(client.sent) == 8, "it rests"
        clock.move(FIRST_S)
        await sent_all(sender)
        assert len(client.sent) == 9
        clock.move(FIRST_S)
        await sent_all(sender)
        clock.move(100.0)
        await sent_all(sender)
        assert sorted(client.ids[9:]) == sorted(client.ids[:8])
        assert [state.waiting for state in await outbox.states()] == [0]


async def test_one_endpoint_that_hangs_holds_up_no_other(
    open_books: OpenBooks, clock: FakeClock
) -> None:
    class Hanging(PlayedClient):
        async def post(self, target: Any, headers: Any, body: Any) -> Any:
            if target.url.startswith("https://slow"):
                await asyncio.Event().wait()
            return await super().post(target, headers, body)

    client = Hanging()
    slow = msgspec.structs.replace(USAGE, url="https://slow.example.com/")
    async with open_books() as (ledger, outbox, *_):
        wanted = settings(endpoints={"billing": USAGE, "slow": slow})
        sender = sender_of(outbox, client, clock, settings=wanted)
        await sender.subscribe()
        await ledger.settle([settled_row()])
        await sender.look()
        async with asyncio.timeout(60):
            while not client.sent:
                await asyncio.sleep(0.001)
        await sender.aclose()
    assert client.ids == ["usage_r1"]


async def test_one_that_says_it_is_gone_is_asked_no_more(
    open_books: OpenBooks, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    client = PlayedClient([410])
    async with open_books() as (ledger, outbox, *_):
        sender = sender_of(outbox, client, clock)
        await sender.subscribe()
        await ledger.settle([settled_row()])
        await sent_all(sender)
        clock.move(1000.0)
        await sent_all(sender)
    assert len(client.sent) == 1
    assert "webhook billing says that it is gone (410): it is disabled" in caplog.text


async def test_attempts_are_counted_by_endpoint(open_books: OpenBooks, clock: FakeClock) -> None:
    metrics = Metrics()
    async with open_books() as (ledger, outbox, *_):
        sender = sender_of(outbox, PlayedClient([500]), clock, metrics=metrics)
        await sender.subscribe()
        await ledger.settle([settled_row()])
        await sent_all(sender)
        clock.move(60.0)
        await sent_all(sender)
    shown = metrics.render().decode()
    assert 'spillgate_webhooks_total{endpoint="billing",outcome="failed"} 1.0' in shown
    assert 'spillgate_webhooks_total{endpoint="billing",outcome="taken"} 1.0' in shown


async def test_a_real_receiver_verifies_what_it_is_sent_again(
    open_books: OpenBooks, caplog: pytest.LogCaptureFixture
) -> None:
    """By the genuine verifier, at the second attempt too, and by the same id."""
    caplog.set_level(logging.WARNING)
    clock = SystemClock()
    async with (
        open_books() as (ledger, outbox, *_),
        receiving(saying(500), saying(200)) as receiver,
    ):
        endpoint = msgspec.structs.replace(USAGE, url=receiver.url)
        wanted = settings(endpoints={"billing": endpoint}, allow_private=True)
        resolver = SystemResolver(1)
        for _ in range(2):
            sender = sender_of(outbox, WebhookClient(resolver), clock, settings=wanted)
            await sender.subscribe()
            await ledger.settle([settled_row()])
            await outbox.redeliver("billing", "usage_r1")
            await sent_all(sender)
            await sender.aclose()
        resolver.close()
    first, second = receiver.received
    assert first.verified() == second.verified()
    assert first.id == second.id == "usage_r1"


# --- deaths --------------------------------------------------------------------------------------


class Died(BaseException):
    """The process is no more: nothing that would tidy up after it is run."""


class MortalOutbox:
    """An outbox whose process dies at its n-th step, before it is done or after."""

    def __init__(self, outbox: Outbox, step: int, *, after: bool) -> None:
        self._outbox = outbox
        self._left = step
        self._after = after

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        method = getattr(self._outbox, name)

        async def step(*arguments: Any) -> Any:
            self._left -= 1
            if self._left == 0 and not self._after:
                raise Died
            done = await method(*arguments)
            if self._left <= 0:
                raise Died
            return done

        return step


STEPS = range(1, 7)
WHEN = {"before": False, "after": True}


@pytest.mark.parametrize("when", WHEN)
@pytest.mark.parametrize("step", STEPS)
async def test_wherever_a_gateway_dies_each_settled_row_is_told_by_one_id(
    open_books: OpenBooks, clock: FakeClock, step: int, when: str
) -> None:
    """Between the row and its message, between taking and sending, between sending and marking."""
    client = PlayedClient()
    async with open_books() as (ledger, outbox, *_):
        await outbox.subscribe({"billing": True})
        await ledger.settle([settled_row("r1"), settled_row("r2")])
        await ledger.open(open_row("never"))
        mortal: Any = MortalOutbox(outbox, step, after=WHEN[when])
        dying = sender_of(mortal, client, clock)
        with contextlib.suppress(Died):
            await dying.subscribe()
            await dying.serve("billing")
        before = len(client.sent)
        clock.move(LEASE_S)
        heir = sender_of(outbox, client, clock)
        await sent_all(heir)
        assert set(client.ids) == {"usage_r1", "usage_r2"}
        assert len({(one.id, one.body) for one in client.sent}) == 2
        assert [state.waiting for state in await outbox.states()] == [0]
        assert before in (0, 2)


# --- pauses --------------------------------------------------------------------------------------


def test_pauses_grow_up_to_a_day_and_are_shorter_by_a_fifth_at_most() -> None:
    whole = [pause_s(attempt, 0.0) for attempt in range(1, 12)]
    assert whole[:4] == [5.0, 20.0, 80.0, 320.0]
    assert whole == sorted(whole)
    assert whole[-1] == LONGEST_S
    assert [pause_s(attempt, 1.0) for attempt in (1, 2)] == [4.0, 16.0]


def test_a_receivers_own_pause_is_waited_for_up_to_a_day() -> None:
    assert pause_s(1, 0.0, 120.0) == 120.0
    assert pause_s(1, 0.0, 1.0) == FIRST_S
    assert pause_s(1, 0.0, 1e9) == LONGEST_S


def test_an_endpoint_that_fails_is_asked_once_a_minute_at_least() -> None:
    assert [rest_s(failures, 0.0) for failures in (1, 2, 3, 100)] == [2.0, 4.0, 8.0, 60.0]


async def test_receivers_that_one_key_has_named_hold_up_no_other(
    open_books: OpenBooks, clock: FakeClock
) -> None:
    """However many of them hang."""

    class Hanging(PlayedClient):
        async def post(self, target: Any, headers: Any, body: Any) -> Any:
            hanging.append(target.owner)
            if target.owner == "jobs:key_a":
                await asyncio.Event().wait()
            return await super().post(target, headers, body)

    hanging, client = list[str](), Hanging()
    names = [*(f"jobs:key_a:h{n}.example.com" for n in range(100)), "jobs:key_b:one.example.com"]
    async with open_books() as (_, outbox, *_):
        wanted = settings(jobs=JobWebhooks(secret=USAGE.secret))
        sender = sender_of(outbox, client, clock, settings=wanted)
        await outbox.subscribe(dict.fromkeys(names, False))
        await outbox.put([message_to(name) for name in names])
        await sender.look()
        async with asyncio.timeout(60):
            while not client.sent or hanging.count("jobs:key_a") < 32:
                await asyncio.sleep(0.001)
        await sender.aclose()
    assert hanging.count("jobs:key_a") == 32


def message_to(name: str) -> Message:
    return Message(
        id="m", endpoint=name, topic="job.failed", body="{}", url="https://x.example.com/"
    )
