"""What becomes of a call whose backend failed: who is asked next, who pays, who is told what."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from adapters.errors import BackendError, FailureClass, Fault, Ran
from adapters.types import Reply, Usage
from gateway.clock import FakeClock
from gateway.routing.health import HEALTHY
from gateway.types import ApiError, Principal
from tests.gateway.assembled import ALICE, AssembledGateway, assembled
from tests.waiting import until

F = FailureClass
POLICY = """
version: 1
server: {tls: "off", access_log: false}
backends:
  first: {kind: fake, price: %s}
  second: {kind: fake, price: tokens}
  third: {kind: fake, price: tokens}
models:
  chat: {task: chat, backends: [first, second, third], slo: 5s}
  alone: {task: chat, backends: [first], slo: 5s}
  infer: {task: infer, backends: [first, second], slo: 5s}
prices:
  tokens: {per_million_input: 1, per_million_output: 1, as_of: 2026-11-01, source: test}
  reserved: {per_hour: 3.6, as_of: 2026-11-01, source: test}
  seconds: {per_second: 0.001, as_of: 2026-11-01, source: test}
routes:
  - {name: all, use: [first, second, third], order: listed%s}
plans:
  default: {spend: 5 USD/month}
"""
GOING_ON = [f for f in F if f.fault is Fault.BACKEND]
BOB = Principal(key_id="key_bob", user="bob", plan="default")


def policy(price: str = "tokens", route: str = "") -> str:
    return POLICY % (price, route)


async def refused(gateway: AssembledGateway, model: str = "chat") -> ApiError:
    with pytest.raises(ApiError) as caught:
        await gateway.ask(gateway.call_state(model))
    return caught.value


def asked(gateway: AssembledGateway) -> list[int]:
    return [len(gateway.fake(name).calls) for name in ("first", "second", "third")]


@pytest.mark.parametrize("price", ["tokens", "reserved"])
@pytest.mark.parametrize("failure", GOING_ON, ids=lambda f: f.slug)
async def test_whatever_befell_the_first_backend_the_second_answers(
    failure: FailureClass, price: str, tmp_path: Path, clock: FakeClock
) -> None:
    """And at a price by tokens nothing is charged for what brought none."""
    async with assembled(tmp_path, clock, policy(price)) as gateway:
        gateway.fake("first").tell(BackendError(failure, "it failed"))
        state = gateway.call_state(body=b"x" * 40_000)
        await gateway.ask(state)
        [row] = await gateway.rows(state.call.id)
        assert (row.backend, row.reason, row.outcome) == ("second", "FAILOVER", "success")
        assert [(one.backend, one.slug) for one in state.tried] == [("first", failure.slug)]


@pytest.mark.parametrize("failure", GOING_ON, ids=lambda f: f.slug)
async def test_what_may_have_run_at_a_price_by_the_second_goes_on_only_where_the_policy_says(
    failure: FailureClass, tmp_path: Path, clock: FakeClock
) -> None:
    never_ran = failure.ran is Ran.NO
    async with assembled(tmp_path, clock, policy("seconds")) as gateway:
        gateway.fake("first").tell(BackendError(failure, "it failed"))
        state = gateway.call_state()
        if never_ran:
            await gateway.ask(state)
        else:
            with pytest.raises(ApiError) as caught:
                await gateway.ask(state)
            assert caught.value.headers["x-should-retry"] == "false"
        assert asked(gateway) == [1, int(never_ran), 0]


async def test_where_the_policy_says_always_both_runs_are_on_the_bill(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock, policy("seconds", ", repeat: always")) as gateway:
        used = Usage(exec_s=2.0, reported=True)
        gateway.fake("first").tell(BackendError(F.FAILED, "it failed", usage=used))
        state = gateway.call_state()
        await gateway.ask(state)
        assert state.tried[0].cost_nano == 2_000_000
        assert state.cost_nano == await gateway.spent() == 2_000_000


async def test_a_call_that_may_still_run_there_is_stopped_while_another_answers(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock, policy()) as gateway:
        gateway.fake("first").tell(BackendError(F.TIMEOUT, "late"))
        state = gateway.call_state()
        await gateway.ask(state)
        await until(lambda: gateway.fake("first").cancelled == [state.call.id], "it is stopped")


async def test_a_native_call_goes_on_where_the_policy_calls_it_idempotent(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock, policy(route=", idempotent: true")) as gateway:
        gateway.fake("first").tell(BackendError(F.FAILED, "it failed"))
        await gateway.ask(gateway.call_state("infer"))
        assert asked(gateway) == [1, 1, 0]


@pytest.mark.parametrize("failure", GOING_ON, ids=lambda f: f.slug)
async def test_our_own_clocks_seconds_are_charged_of_what_may_have_run_alone(
    failure: FailureClass, tmp_path: Path, clock: FakeClock
) -> None:
    """A refusal that took its time to come is a refusal all the same."""
    async with assembled(tmp_path, clock, policy("seconds", ", repeat: always")) as gateway:
        seen = Usage(exec_s=0.05)
        gateway.fake("first").tell(BackendError(failure, "it failed", usage=seen))
        state = gateway.call_state()
        await gateway.ask(state)
        assert state.tried[0].cost_nano == (0 if failure.ran is Ran.NO else 50_000)


async def test_a_call_that_was_given_up_in_the_platforms_queue_was_not_begun(
    tmp_path: Path, clock: FakeClock
) -> None:
    """Nothing is owed, whatever the price, and another backend is asked."""
    async with assembled(tmp_path, clock, policy("seconds")) as gateway:
        waited = Usage(queue_s=6.0, reported=True)
        gateway.fake("first").tell(BackendError(F.TIMEOUT, "still IN_QUEUE", usage=waited))
        state = gateway.call_state()
        state.call.progress.queued_until = clock.monotonic()
        await gateway.ask(state)
        assert [one.slug for one in state.tried] == ["not_started"]
        assert state.cost_nano == 0


async def test_a_caller_who_hangs_up_before_the_first_token_is_not_sent_on(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock, policy(route=", first_token: 2s")) as gateway:
        gateway.fake("first").runs_for = 100.0
        state, task = gateway.start(stream=True)
        await gateway.until_asked("first")
        state.stop("disconnected")
        await gateway.until_done([task], step=0.5)
        assert task.cancelled()
        assert asked(gateway) == [1, 0, 0]


async def test_a_busy_backend_is_asked_again_where_it_is_the_only_one(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock, policy()) as gateway:
        gateway.fake("first").tell(BackendError(F.OVERLOADED, "full", retry_after=1.0))
        _, task = gateway.start("alone")
        await gateway.until_done([task], step=0.25)
        assert isinstance(task.result(), Reply)
        assert len(gateway.fake("first").calls) == 2


async def test_no_more_attempts_are_made_than_a_route_allows(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock, policy(route=", retries: {attempts: 2}")) as gateway:
        for name in ("first", "second"):
            gateway.fake(name).tell(BackendError(F.FAILED, "it failed"))
        assert (await refused(gateway)).code == "backend_failed"
        assert asked(gateway) == [1, 1, 0]


async def test_where_the_budget_is_used_up_the_failure_is_told(
    tmp_path: Path, clock: FakeClock
) -> None:
    """Ten repetitions a minute are always allowed."""
    text = policy(route=", retries: {budget: 1}")
    async with assembled(tmp_path, clock, text) as gateway:
        error = BackendError(F.UNREACHABLE, "refused")
        gateway.fake("first").answers = lambda _: error
        for _ in range(10):
            gateway.inner.active.backends["first"].rests.health = HEALTHY
            await gateway.ask(gateway.call_state())
        gateway.inner.active.backends["first"].rests.health = HEALTHY
        assert (await refused(gateway)).code == "backend_unreachable"
        assert asked(gateway) == [11, 10, 0]


# --- who rests ------------------------------------------------------------------------------------


async def test_a_backend_that_always_fails_is_left_alone_and_answers_nobody_late(
    tmp_path: Path, clock: FakeClock
) -> None:
    """Twelve of twelve are answered; it is asked twice, and once more after each rest."""
    async with assembled(tmp_path, clock, policy()) as gateway:
        error = BackendError(F.FAILED, "it failed")
        gateway.fake("first").answers = lambda _: error
        for _ in range(12):
            await gateway.ask(gateway.call_state())
        assert asked(gateway) == [2, 12, 0]
        await clock.advance(1.1)
        for _ in range(5):
            await gateway.ask(gateway.call_state())
        assert asked(gateway) == [3, 17, 0]


async def test_one_callers_failures_close_a_backend_to_nobody_else(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock, policy()) as gateway:
        poison = BackendError(F.FAILED, "it failed")
        gateway.fake("first").answers = lambda call: (
            poison if call.body == b"poison" else Reply(usage=Usage(exec_s=0.1))
        )
        for _ in range(6):
            with pytest.raises(ApiError):
                await gateway.ask(gateway.call_state("alone", body=b"poison"))
        state = gateway.call_state("alone", principal=BOB)
        await gateway.ask(state)
        assert state.reason != "LAST_RESORT"
        same = gateway.call_state("alone", principal=ALICE)
        await gateway.ask(same)


async def test_two_keys_are_not_two_callers(tmp_path: Path, clock: FakeClock) -> None:
    async with assembled(tmp_path, clock, policy()) as gateway:
        gateway.fake("first").tell(*[BackendError(F.FAILED, "it failed")] * 6)
        for number in range(6):
            caller = msgspec.structs.replace(BOB, key_id=f"key_bob_{number}")
            with pytest.raises(ApiError):
                await gateway.ask(gateway.call_state("alone", principal=caller))
        state = gateway.call_state("alone", principal=ALICE)
        await gateway.ask(state)
        assert state.reason != "LAST_RESORT"


@pytest.mark.parametrize(
    "failure", [F.FAILED, F.OVERLOADED, F.UNREACHABLE, F.MALFORMED], ids=lambda f: f.slug
)
async def test_of_many_calls_at_once_one_tries_a_backend_that_has_rested(
    failure: FailureClass, tmp_path: Path, clock: FakeClock
) -> None:
    """All of them were routed to it while nobody had tried it; the others go elsewhere, also after
    its first rest, and however long their rows take to the disk."""
    async with assembled(tmp_path, clock, policy()) as gateway:
        first, second = gateway.fake("first"), gateway.fake("second")
        error = BackendError(failure, "it failed")
        first.answers = lambda _: error
        for principal in (ALICE, BOB, ALICE):
            await gateway.ask(gateway.call_state(principal=principal))
        await clock.advance(4.0)
        before = len(first.calls), len(second.calls)
        first.runs_for = 3.0
        tasks = [gateway.start(body=str(n).encode())[1] for n in range(24)]
        await until(lambda: len(second.calls) == before[1] + 23, "the others go elsewhere")
        await gateway.until_done(tasks, step=0.5)
        assert (len(first.calls), len(second.calls)) == (before[0] + 1, before[1] + 24)


async def test_a_line_does_not_go_through_a_backend_that_has_begun_to_rest(
    tmp_path: Path, clock: FakeClock
) -> None:
    """Whoever waited there for a place leaves, as far as another backend can take him."""
    text = policy().replace("first: {kind: fake,", "first: {kind: fake, concurrency: 1,")
    async with assembled(tmp_path, clock, text) as gateway:
        first = gateway.fake("first")
        first.runs_for = 1.0
        first.answers = lambda _: BackendError(F.UNREACHABLE, "refused")
        tasks = [gateway.start(body=str(n).encode())[1] for n in range(6)]
        await gateway.until_done(tasks, step=0.5)
        assert asked(gateway)[:2] == [1, 6]
        assert gateway.inner.active.backends["first"].in_flight == 0


async def test_a_lone_backend_that_rests_says_when_it_is_asked_again(
    tmp_path: Path, clock: FakeClock
) -> None:
    """Not a constant; after the rest one call of many is let through."""
    async with assembled(tmp_path, clock, policy()) as gateway:
        error = BackendError(F.UNREACHABLE, "refused")
        gateway.fake("first").answers = lambda _: error
        gateway.fake("first").unwell = "it says so itself"
        for _ in range(4):
            await refused(gateway, "alone")
            await clock.advance(10.0)
        await refused(gateway, "alone")
        told = await refused(gateway, "alone")
        assert (told.status, told.code) == (503, "no_backend")
        assert told.headers["x-should-retry"] == "true"
        wait = int(told.headers["Retry-After"])
        assert 12 <= wait <= 16
        await clock.advance(float(wait))
        before = len(gateway.fake("first").calls)
        gateway.fake("first").runs_for = 0.5
        tasks = [gateway.start("alone")[1] for _ in range(20)]
        await gateway.until_done(tasks, step=0.25)
        assert len(gateway.fake("first").calls) == before + 1


async def test_the_probers_word_decides_where_there_is_a_choice(
    tmp_path: Path, clock: FakeClock
) -> None:
    """And is only weighed where there is none: a health page may be wrong."""
    async with assembled(tmp_path, clock, policy()) as gateway:
        backend = gateway.inner.active.backends["first"]
        gateway.fake("first").unwell = "/health answers 503"
        backend.probed(await backend.adapter.probe())
        state = gateway.call_state()
        await gateway.ask(state)
        assert (state.backend and state.backend.name) == "second"
        alone = gateway.call_state("alone")
        await gateway.ask(alone)
        assert alone.reason == "LAST_RESORT"
        gateway.fake("first").unwell = ""
        backend.probed(await backend.adapter.probe())
        well = gateway.call_state()
        await gateway.ask(well)
        assert (well.backend and well.backend.name) == "first"


# --- what is told ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "status", "code", "again"),
    [
        (BackendError(F.OVERLOADED, "slow", fault=Fault.SUSPECT, status=429, retry_after=7.0,
                      code="rate_limit_exceeded"), 429, "rate_limit_exceeded", "true"),
        (BackendError(F.CONTEXT_TOO_LONG, "long", status=400, code="context_length_exceeded"),
         400, "context_length_exceeded", "false"),
        (BackendError(F.FLAGGED, "no", status=403, code="content_policy_violation"),
         403, "content_policy_violation", "false"),
        (BackendError(F.INVALID, "no", status=422, fault=Fault.SUSPECT), 422, "invalid", "false"),
        (BackendError(F.QUOTA, "no", status=402, code="402"), 402, "insufficient_quota", "false"),
        (BackendError(F.CREDENTIAL, "no", status=401, code="invalid_api_key"),
         502, "backend_credential", "false"),
        (BackendError(F.FAILED, "no", status=500, code="500"), 502, "backend_failed", "false"),
        (BackendError(F.FAILED, "no", status=426, ran=Ran.NO), 502, "backend_failed", "false"),
        (BackendError(F.UNREACHABLE, "no"), 502, "backend_unreachable", "true"),
        (BackendError(F.OVERLOADED, "no", status=503), 503, "backend_overloaded", "true"),
        (BackendError(F.TIMEOUT, "no"), 504, "backend_timeout", "false"),
    ],
    ids=lambda value: repr(value) if isinstance(value, BackendError) else "",
)  # fmt: skip
async def test_the_caller_is_told_what_the_provider_said_and_whether_to_repeat_it(
    error: BackendError,
    status: int,
    code: str,
    again: str,
    tmp_path: Path,
    clock: FakeClock,
) -> None:
    async with assembled(tmp_path, clock, policy()) as gateway:
        gateway.fake("first").tell(error)
        told = await refused(gateway, "alone")
        assert (told.status, told.code, told.headers["x-should-retry"]) == (status, code, again)
        if error.retry_after is not None:
            assert told.headers["Retry-After"] == "7"
