"""Which answer is taken, what becomes of the other attempt, and who pays for it."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from adapters.errors import BackendError, FailureClass
from adapters.types import Reply, Usage
from gateway.clock import FakeClock
from gateway.hedging.answer_quantiles import ENOUGH
from gateway.types import ApiError
from tests.gateway.assembled import ALICE, assembled
from tests.gateway.hedging.calls import (
    USED,
    WHOLE,
    WORD,
    answered,
    asked,
    at_both,
    nothing_is_left,
    policy,
    row_of,
    runs,
)

F = FailureClass
ALWAYS = ", repeat: always"


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_a_slow_backend_is_left_for_the_second_that_answers(
    stream: bool, tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock, policy()) as gateway:
        runs(gateway, first=60.0, second=0.5)
        if stream:
            gateway.fake("second").tell(list(WHOLE))
        state, _ = await answered(gateway, stream=stream)
        row = await row_of(gateway, state)
        assert (row.backend, row.reason, row.outcome) == ("second", "HEDGE", "success")
        assert [(one.backend, one.slug, one.hedge) for one in state.tried] == [
            ("first", "hedged", False)
        ]
        assert gateway.fake("first").cancelled == [state.call.id]
        assert state.answered_s <= 2.0
        await nothing_is_left(gateway, state.call.id)


async def test_a_backend_that_answers_in_its_time_is_asked_alone(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock, policy()) as gateway:
        runs(gateway, first=0.75)
        state, _ = await answered(gateway)
        assert asked(gateway) == [1, 0, 0]
        assert (await row_of(gateway, state)).reason == "LISTED"


@pytest.mark.parametrize("price", ["seconds", "tokens", "reserved"])
async def test_what_the_loser_used_is_a_row_of_its_own_and_in_the_calls_sum(
    price: str, tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock, policy(price, route=ALWAYS)) as gateway:
        runs(gateway, first=3.0, second=60.0)
        gateway.fake("first").tell(Reply(usage=USED))
        state, _ = await answered(gateway)
        call, lost = await nothing_is_left(gateway, state.call.id)
        assert (call.backend, call.outcome) == ("first", "success")
        assert (lost.id, lost.kind, lost.backend) == (f"{call.id}#1", "attempt", "second")
        assert (lost.outcome, lost.error) == ("cancelled", "hedged")
        assert lost.cost_nano > 0
        assert state.cost_nano == call.cost_nano + lost.cost_nano
        assert [(one.slug, one.hedge, one.cost_nano) for one in state.tried] == [
            ("hedged", True, lost.cost_nano)
        ]


async def test_a_second_that_is_refused_changes_nothing(tmp_path: Path, clock: FakeClock) -> None:
    async with assembled(tmp_path, clock, policy()) as gateway:
        runs(gateway, first=4.0)
        gateway.fake("second").tell(BackendError(F.OVERLOADED, "full", retry_after=1.0))
        state, _ = await answered(gateway)
        assert (await row_of(gateway, state)).backend == "first"
        assert asked(gateway) == [1, 1, 0]
        assert [(one.backend, one.slug, one.hedge) for one in state.tried] == [
            ("second", "overloaded", True)
        ]
        await nothing_is_left(gateway, state.call.id)


async def test_where_the_first_fails_the_second_goes_on_alone(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock, policy("seconds", route=ALWAYS)) as gateway:
        runs(gateway, first=2.0, second=30.0)
        gateway.fake("first").tell(BackendError(F.FAILED, "it broke"))
        state, _ = await answered(gateway)
        call, failed = await nothing_is_left(gateway, state.call.id)
        assert (call.backend, call.reason, call.outcome) == ("second", "HEDGE", "success")
        assert (failed.backend, failed.error) == ("first", "failed")
        assert asked(gateway) == [1, 1, 0]


async def test_where_both_fail_the_next_is_asked(tmp_path: Path, clock: FakeClock) -> None:
    async with assembled(tmp_path, clock, policy()) as gateway:
        runs(gateway, first=2.0, second=2.0)
        for name in ("first", "second"):
            gateway.fake(name).tell(BackendError(F.FAILED, "it broke"))
        state, _ = await answered(gateway)
        row = await row_of(gateway, state)
        assert (row.backend, row.reason) == ("third", "FAILOVER")
        assert [(one.backend, one.hedge) for one in state.tried] == [
            ("first", False),
            ("second", True),
        ]
        await nothing_is_left(gateway, state.call.id)


@pytest.mark.parametrize("at", ["first", "second"])
async def test_a_request_that_is_at_fault_is_asked_of_nobody_else(
    at: str, tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock, policy()) as gateway:
        runs(gateway, first=9.0, second=9.0)
        runs(gateway, **{at: 1.5})
        gateway.fake(at).tell(BackendError(F.INVALID, "no such field"))
        state, task = gateway.start()
        await gateway.until_done([task], step=0.25)
        assert isinstance(task.exception(), ApiError)
        assert "no such field" in str(task.exception())
        assert asked(gateway) == [1, 1, 0]
        await nothing_is_left(gateway, state.call.id)


async def test_of_two_answers_in_the_same_moment_the_first_backends_is_taken(
    tmp_path: Path, clock: FakeClock
) -> None:
    """What the other one says of its use is what it is charged."""
    async with assembled(tmp_path, clock, policy()) as gateway:
        runs(gateway, first=2.0, second=1.0)
        gateway.fake("first").tell(Reply(usage=USED))
        gateway.fake("second").tell(Reply(usage=Usage(input_tokens=7, output_tokens=9)))
        state, _ = await answered(gateway, step=1.0)
        rows = await nothing_is_left(gateway, state.call.id)
        assert {row.backend: row.output_tokens for row in rows} in (
            {"first": 2000, "second": 9},
            {"first": 2000, "second": 0},
            {"second": 9, "first": 0},
        )


async def test_a_caller_who_hangs_up_stops_and_pays_for_both(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock, policy("seconds", route=ALWAYS)) as gateway:
        runs(gateway, first=60.0, second=60.0)
        state, task = await at_both(gateway)
        await clock.advance(2.0)
        state.stop("disconnected")
        await gateway.until_done([task], step=0.25)
        call, lost = await nothing_is_left(gateway, state.call.id)
        assert (call.backend, call.outcome) == ("first", "disconnected")
        assert (lost.backend, lost.error) == ("second", "hedged")
        assert call.cost_nano >= 3_000_000
        assert lost.cost_nano >= 2_000_000
        assert gateway.fake("second").cancelled == gateway.fake("first").cancelled


async def test_a_stream_that_begins_second_is_closed(tmp_path: Path, clock: FakeClock) -> None:
    async with assembled(tmp_path, clock, policy()) as gateway:
        runs(gateway, first=2.0, second=30.0)
        gateway.fake("first").tell(list(WHOLE))
        gateway.fake("second").tell([WORD] * 5)
        state, _ = await answered(gateway, stream=True)
        assert (await row_of(gateway, state)).backend == "first"
        await nothing_is_left(gateway, state.call.id)


async def test_a_stream_that_breaks_off_later_ends_as_any_does(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock, policy()) as gateway:
        runs(gateway, first=30.0, second=0.5)
        gateway.fake("second").tell([WORD, BackendError(F.TRUNCATED, "cut")])
        state, _ = await answered(gateway, stream=True)
        row = await row_of(gateway, state)
        assert (row.backend, row.outcome, row.error) == ("second", "error", "truncated")
        await nothing_is_left(gateway, state.call.id)


# --- who is not asked -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "model"),
    [
        (policy("seconds"), "chat"),
        (policy(route=", repeat: never"), "chat"),
        (policy(route=", idempotent: false"), "chat"),
        (policy(), "infer"),
        (policy(route=", retries: {attempts: 1}"), "chat"),
    ],
    ids=["billed by the second", "never repeated", "not idempotent", "native", "one attempt"],
)
async def test_a_call_that_may_not_run_twice_is_asked_of_one(
    text: str, model: str, tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock, text) as gateway:
        runs(gateway, first=5.0)
        await answered(gateway, model)
        assert asked(gateway) == [1, 0, 0]


async def test_a_limit_without_room_for_both_is_not_passed(
    tmp_path: Path, clock: FakeClock
) -> None:
    poor = msgspec.structs.replace(ALICE, key_id="key_poor", user="paul", plan="poor")
    async with assembled(tmp_path, clock, policy()) as gateway:
        runs(gateway, first=5.0)
        _, task = gateway.start(body=b"x" * 4000, principal=poor)
        await gateway.until_done([task], step=0.25)
        assert isinstance(task.result(), Reply)
        assert asked(gateway) == [1, 0, 0]
        assert counted(gateway.inner.metrics.render(), "second", "no_room") == 1


async def test_a_backend_that_rests_is_full_or_has_limits_of_its_own_is_passed_over(
    tmp_path: Path, clock: FakeClock
) -> None:
    limited = policy() + "limits:\n  backends:\n    second: {requests: 10/minute}\n"
    async with assembled(tmp_path, clock, limited) as gateway:
        runs(gateway, first=5.0)
        gateway.fake("third").slots = 1
        gateway.fake("third").runs_for = 0.25
        state, _ = await answered(gateway)
        assert (await row_of(gateway, state)).backend == "third"
        assert asked(gateway) == [1, 0, 1]
        gateway.fake("third").slots = 0
        state, _ = await answered(gateway)
        assert (await row_of(gateway, state)).backend == "first"


async def test_no_more_are_hedged_than_the_share_says(tmp_path: Path, clock: FakeClock) -> None:
    """One a minute is always allowed."""
    async with assembled(tmp_path, clock, policy(hedge="after: 1s, share: 25")) as gateway:
        runs(gateway, first=2.0, second=30.0)
        tasks = [gateway.start()[1] for _ in range(4)]
        await gateway.until_done(tasks, step=0.25)
        tasks = [gateway.start()[1] for _ in range(4)]
        await gateway.until_done(tasks, step=0.25)
        assert asked(gateway) == [8, 2, 0]
        assert counted(gateway.inner.metrics.render(), "second", "lost") == 2
        assert counted(gateway.inner.metrics.render(), "second", "no_share") == 6


async def test_without_a_time_of_its_own_it_is_learned_what_is_slow(
    tmp_path: Path, clock: FakeClock
) -> None:
    """Of the backend's own answers, once there are enough."""
    async with assembled(tmp_path, clock, policy(hedge="share: 100", price="tokens")) as gateway:
        runs(gateway, first=30.0, second=0.5)
        await answered(gateway, step=5.0)
        assert asked(gateway) == [1, 0, 0]
        hedges = gateway.inner.hedges
        assert hedges is not None
        runs(gateway, first=0.0)
        for _ in range(ENOUGH):
            await answered(gateway, step=0.0)
        runs(gateway, first=30.0)
        state, _ = await answered(gateway, step=0.5)
        assert (await row_of(gateway, state)).backend == "second"


def counted(metrics: bytes, backend: str, result: str) -> float:
    name = f'spillgate_hedges_total{{backend="{backend}",result="{result}"}} '.encode()
    return sum(float(line[len(name) :]) for line in metrics.splitlines() if line.startswith(name))
