"""The limits of a backend hold for all that it does: calls go on to another when one is reached."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from adapters.errors import BackendError, FailureClass
from adapters.types import Chunk
from gateway.calls.stream import SettledStream
from gateway.clock import FakeClock
from gateway.preferences import Preferences
from gateway.restore import refill
from gateway.storage.base import Admitted, Claim, Refused
from gateway.storage.memory import MemorySharedStore
from gateway.types import ApiError, Principal
from tests.gateway.assembled import PATIENCE_S, AssembledGateway, assembled, read
from tests.gateway.failing_stores import FailingLedger, Trouble
from tests.gateway.limits.gateways import (
    CENT,
    DAVE,
    DOLLAR,
    POLICY,
    THOUSAND,
    left,
    past_caps,
    read_all,
    refused,
    serve,
    used,
)
from tests.waiting import until

CAPPED = POLICY + "limits: {backends: {a: {spend: 1 USD/day}}}\n"
TIMED = POLICY.replace("{per_call: 0.01}", "{per_second: 0.001, bills: [run]}")


async def spent_at(gateway: AssembledGateway, backend: str) -> int:
    return DOLLAR - await left(gateway, f"backend:{backend}", "nano_usd", "day", DOLLAR)


async def test_a_thousand_calls_at_once_pass_no_backends_cap(
    tmp_path: Path, clock: FakeClock
) -> None:
    """A hundred are served there and nine hundred by the next one; nothing stays held."""
    async with assembled(tmp_path, clock, CAPPED) as gateway:
        gateway.fake("a").runs_for = gateway.fake("b").runs_for = 1.0
        tasks = [
            gateway.start("chat", principal=DAVE, preferences=THOUSAND)[1] for _ in range(1000)
        ]
        await gateway.until_done(tasks, step=0.2)
        assert not any(task.exception() for task in tasks)
        assert len(gateway.fake("a").calls) == 100
        assert len(gateway.fake("b").calls) == 900
        assert await spent_at(gateway, "a") == DOLLAR
        assert await past_caps(gateway) == 0
        assert gateway.inner.active.backends["a"].in_flight == 0


class CountingStore(MemorySharedStore):
    """Counts what is asked for each backend."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(clock)
        self.asked: Counter[str] = Counter()

    async def admit(
        self, hold_id: str, claims: Sequence[Claim], ttl_s: float
    ) -> Admitted | Refused:
        self.asked.update(claim.scope for claim in claims if claim.scope.startswith("backend:"))
        return await super().admit(hold_id, claims, ttl_s)


async def test_a_backend_that_is_known_to_be_full_is_not_asked_for_again_and_again(
    tmp_path: Path, clock: FakeClock
) -> None:
    """Once in a quarter of a second, and at once when the limit is another."""
    store = CountingStore(clock)
    text = CAPPED.replace("1 USD/day", "0.01 USD/day")
    async with assembled(tmp_path, clock, text, shared=store) as gateway:
        for _ in range(10):
            await serve(gateway, principal=DAVE)
        assert store.asked["backend:a"] == 2
        await clock.advance(0.25)
        for _ in range(10):
            await serve(gateway, principal=DAVE)
        assert store.asked["backend:a"] == 3
        await gateway.inner.apply(read(text.replace("0.01 USD/day", "0.02 USD/day")))
        await serve(gateway, principal=DAVE)
        assert len(gateway.fake("a").calls) == 2


async def test_a_backend_has_room_again_when_a_call_ends_there(
    tmp_path: Path, clock: FakeClock
) -> None:
    text = POLICY + "limits: {backends: {a: {concurrent: 1}}}\n"
    async with assembled(tmp_path, clock, text) as gateway:
        gateway.fake("a").runs_for = 0.1
        _, first = gateway.start("chat", principal=DAVE)
        await gateway.until_asked("a")
        await serve(gateway, principal=DAVE)
        assert len(gateway.fake("b").calls) == 1
        await gateway.until_done([first], step=0.1)
        _, next_one = gateway.start("chat", principal=DAVE)
        await gateway.until_done([next_one], step=0.1)
        assert len(gateway.fake("a").calls) == 2


async def test_the_row_says_why_a_backend_was_passed_over(tmp_path: Path, clock: FakeClock) -> None:
    text = CAPPED.replace("1 USD/day", "0.01 USD/day")
    async with assembled(tmp_path, clock, text) as gateway:
        await serve(gateway, principal=DAVE)
        state = gateway.call_state(principal=DAVE, preferences=THOUSAND)
        await gateway.ask(state)
        row = await gateway.row(state.call.id)
        assert (row.backend, row.reason) == ("b", "LISTED")
        assert row.history is not None
        assert dict(row.history.not_asked) == {"a": "backend_limit"}


async def test_where_no_backend_is_left_the_caller_is_told_which_limit(
    tmp_path: Path, clock: FakeClock
) -> None:
    """The row of such a call ends, and nothing is charged."""
    text = POLICY + (
        "plans: {p: {spend: 9 USD/day}}\n"
        "limits: {backends: {a: {concurrent: 1}, b: {requests: 1/minute}}}\n"
    )
    who = Principal(key_id="k", user="dave", plan="p")
    async with assembled(tmp_path, clock, text) as gateway:
        gateway.fake("a").runs_for = gateway.fake("b").runs_for = 5.0
        tasks = [gateway.start("chat", principal=who)[1] for _ in range(2)]
        await gateway.until_asked("b")
        error = await refused(gateway, principal=who)
        assert (error.status, error.code) == (429, "rate_limit_exceeded")
        assert error.message.startswith("Backend b takes no more requests at the moment.")
        await gateway.until_done(tasks, step=1.0)
        assert await gateway.spent("dave") == 2 * CENT
        assert await left(gateway, "user:dave", "nano_usd", "day", DOLLAR) == DOLLAR - 2 * CENT
        assert gateway.inner.active.backends["b"].in_flight == 0


async def test_each_backend_is_charged_what_it_did(tmp_path: Path, clock: FakeClock) -> None:
    """A run that failed after three seconds there, and one of two seconds elsewhere."""
    text = TIMED + "limits: {backends: {a: {spend: 1 USD/day}, b: {spend: 1 USD/day}}}\n"
    text = text.replace("order: listed}", "order: listed, repeat: always, idempotent: true}")
    async with assembled(tmp_path, clock, text) as gateway:
        gateway.fake("a").runs_for, gateway.fake("b").runs_for = 3.0, 2.0
        gateway.fake("a").tell(BackendError(FailureClass.FAILED, "it broke"))
        _, task = gateway.start("chat", principal=DAVE)
        await gateway.until_done([task], step=0.5)
        await task
        assert await spent_at(gateway, "a") == 3_000_000
        assert await spent_at(gateway, "b") == 2_000_000
        assert await gateway.spent("dave") == 5_000_000


class ForgetfulStore(MemorySharedStore):
    def forget(self) -> None:
        super().__init__(self._clock)


@pytest.mark.parametrize("emptied", ["never", "once", "twice"])
@pytest.mark.parametrize("ledger", ["writes", "comes back later"])
async def test_what_a_failed_attempt_used_counts_there_though_the_store_is_emptied(
    emptied: str, ledger: str, tmp_path: Path, clock: FakeClock
) -> None:
    """Its row is written when the call ends, at another backend."""
    text = TIMED + "limits: {backends: {a: {spend: 1 USD/day}, b: {spend: 1 USD/day}}}\n"
    text = text.replace("order: listed}", "order: listed, repeat: always, idempotent: true}")
    store, trouble = ForgetfulStore(clock), Trouble()
    rows = FailingLedger(tmp_path / "own.db", clock=clock, write_timeout_s=PATIENCE_S).told(trouble)
    async with assembled(tmp_path, clock, text, shared=store, ledger=rows) as gateway:
        gateway.fake("a").runs_for, gateway.fake("b").runs_for = 3.0, 2.0
        gateway.fake("a").tell(BackendError(FailureClass.FAILED, "it broke"))
        _, task = gateway.start("chat", principal=DAVE)
        await gateway.until_asked("a")
        await clock.advance(3.0)
        await gateway.until_asked("b")
        for _ in range(["never", "once", "twice"].index(emptied)):
            store.forget()
            await refill(gateway.inner)
            assert await spent_at(gateway, "a") == 3_000_000
        if ledger == "comes back later":
            trouble.fails("before", "settle")
        await gateway.until_done([task], step=0.5)
        await task
        assert await spent_at(gateway, "a") == 3_000_000
        trouble.ends()
        await gateway.inner.settler.retry()
        for _ in range(2):
            assert await spent_at(gateway, "a") == 3_000_000
            assert await spent_at(gateway, "b") == 2_000_000
            store.forget()
            await refill(gateway.inner)
        [status] = await store.statuses([Claim("backend:a", "nano_usd", "day", DOLLAR, 0)])
        assert status.held == 0


@pytest.mark.parametrize("when", ["from the start", "by a reload"])
async def test_a_call_ends_where_the_backends_limit_does(
    when: str, tmp_path: Path, clock: FakeClock
) -> None:
    capped = TIMED + "limits: {backends: {a: {spend: 0.02 USD/day}}}\n"
    async with assembled(tmp_path, clock, capped if when == "from the start" else TIMED) as gateway:
        gateway.fake("a").runs_for = 90.0
        _, task = gateway.start("chat", principal=DAVE)
        await gateway.until_asked("a")
        await clock.advance(5.0)
        if when == "by a reload":
            await gateway.inner.apply(read(capped))
        await gateway.until_done([task], step=0.5)
        error = task.exception()
        assert isinstance(error, ApiError)
        assert error.code == "budget_exhausted"
        assert 5_000_000 <= await spent_at(gateway, "a") <= 20_000_000
        assert await spent_at(gateway, "a") == await gateway.spent("dave")
        assert await past_caps(gateway) == 0


async def test_an_answer_is_bounded_for_a_backends_limit_alone(
    tmp_path: Path, clock: FakeClock
) -> None:
    """Where nothing limits the caller, its model's own bound is sent."""
    text = POLICY.replace("{per_call: 0.01}", "{per_million_output: 10}")
    async with assembled(
        tmp_path, clock, text + "limits: {backends: {a: {spend: 1 USD/day}}}\n"
    ) as gateway:
        gateway.fake("a").answers = lambda _: used(2, 500)
        open_ended = Preferences(None, None, 1000, 1)
        await serve(gateway, principal=DAVE, body=b'{"messages":[]}', preferences=open_ended)
        [call] = gateway.fake("a").calls
        assert json.loads(call.body)["max_tokens"] == 1000
        assert await spent_at(gateway, "a") == 5_000_000


async def test_a_stream_that_brings_more_than_is_held_is_stopped_there(
    tmp_path: Path, clock: FakeClock
) -> None:
    text = POLICY + "limits: {backends: {a: {output_tokens: 1200/day}}}\n"
    async with assembled(tmp_path, clock, text) as gateway:
        gateway.fake("a").tell([Chunk(b"data: {}\n\n", tokens=1) for _ in range(3000)])
        state = gateway.call_state(stream=True, principal=DAVE, preferences=THOUSAND)
        answer = await gateway.ask(state)
        assert isinstance(answer, SettledStream)
        with pytest.raises(asyncio.CancelledError):
            await read_all(answer)
        assert state.stop_cause == "budget"
        left_over = await left(gateway, "backend:a", "output_tokens", "day", 1200)
        assert left_over < 200


async def test_no_backends_cap_is_passed_by_what_dearer_ones_would_have_cost(
    tmp_path: Path, clock: FakeClock
) -> None:
    """Of calls that a dead gateway left there, and that others were held for as well."""
    text = CAPPED.replace("b: {kind: fake, price: cent", "b: {kind: fake, price: dear")
    text = text.replace("prices:\n", "prices:\n  dear: {per_call: 0.3}\n")
    text = text.replace("1 USD/day", "0.03 USD/day") + "plans: {default: {spend: 5 USD/day}}\n"
    async with assembled(tmp_path, clock, text) as gateway:
        gateway.fake("a").runs_for = 50.0
        tasks = [gateway.start("chat")[1] for _ in range(3)]
        await until(lambda: len(gateway.fake("a").calls) == 3, "all are there")
        rows = await gateway.inner.ledger.open_rows()
        for task in tasks:
            task.cancel()
        await gateway.until_done(tasks, step=1.0)
    other = tmp_path / "other"
    other.mkdir()
    async with assembled(other, clock, text) as gateway:
        for row in rows:
            await gateway.inner.ledger.open(row)
    async with assembled(other, clock, text) as gateway:
        assert await spent_at(gateway, "a") == 3 * CENT
        assert await gateway.spent("alice") == 3 * CENT
        assert await past_caps(gateway) == 0


async def test_what_a_dead_gateway_left_at_a_backend_counts_there(
    tmp_path: Path, clock: FakeClock
) -> None:
    """Its row was open: it is settled at what was held, in the limits of both."""
    text = CAPPED + "plans: {default: {spend: 5 USD/day}}\n"
    async with assembled(tmp_path, clock, text) as gateway:
        gateway.fake("a").runs_for = 50.0
        state, task = gateway.start("chat")
        await gateway.until_asked("a")
        [left_open] = await gateway.inner.ledger.open_rows()
        assert left_open.at_backend is not None
        task.cancel()
        await gateway.until_done([task], step=1.0)
    other = tmp_path / "other"
    other.mkdir()
    async with assembled(other, clock, text) as gateway:
        await gateway.inner.ledger.open(left_open)
    async with assembled(other, clock, text) as gateway:
        assert (await gateway.row(state.call.id)).outcome == "interrupted"
        assert await spent_at(gateway, "a") == CENT
        assert await left(gateway, "user:alice", "nano_usd", "day", DOLLAR) == DOLLAR - CENT


async def test_a_call_that_goes_on_holds_at_its_next_backend_alone(
    tmp_path: Path, clock: FakeClock
) -> None:
    """However soon it is there: the first one's place is free, the second one's is taken."""
    free = POLICY.replace(", price: cent", "").replace("prices:\n  cent: {per_call: 0.01}\n", "")
    text = free + "limits: {backends: {a: {concurrent: 1}, b: {concurrent: 1}}}\n"
    async with assembled(tmp_path, clock, text) as gateway:
        gateway.fake("a").tell(BackendError(FailureClass.OVERLOADED, "busy"))
        gateway.fake("b").runs_for = 5.0
        _, task = gateway.start("chat", principal=DAVE)
        await gateway.until_asked("b")
        assert await left(gateway, "backend:a", "concurrent", "", 1) == 1
        assert await left(gateway, "backend:b", "concurrent", "", 1) == 0
        await gateway.until_done([task], step=1.0)
        assert await left(gateway, "backend:b", "concurrent", "", 1) == 1
