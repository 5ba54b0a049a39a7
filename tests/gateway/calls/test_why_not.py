"""Why a backend was not asked is told afterwards, and an overflow that money kept away at once."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import msgspec
import pytest

from adapters.errors import BackendError, FailureClass, Fault
from adapters.types import Chunk, Usage
from gateway.clock import FakeClock
from gateway.types import ApiError
from tests.gateway.assembled import ALICE, AssembledGateway, assembled
from tests.gateway.failing_stores import FailingShared, Trouble

F = FailureClass
POLICY = """
version: 1
server: {tls: "off", access_log: false}
backends:
  first: {kind: fake, price: %s, expect: 1s}
  second: {kind: fake, price: calls}
  third: {kind: fake, price: calls}
models:
  chat: {task: chat, backends: [first, second, third], slo: 5s}
  infer: {task: infer, backends: [first, second], slo: 5s}
prices:
  tokens: {per_million_input: 1, per_million_output: 1, as_of: 2026-11-01, source: test}
  seconds: {per_second: 0.001, as_of: 2026-11-01, source: test}
  hours: {per_hour: 1, as_of: 2026-11-01, source: test}
  calls: {per_call: 1, as_of: 2026-11-01, source: test}
routes:
  - {name: all, use: [first, second, third], order: listed%s}
plans:
  default: {spend: 5 USD/month}
  poor: {spend: 0.5 USD/month}
"""
POOR = msgspec.structs.replace(ALICE, key_id="key_poor", user="paul", plan="poor")


def policy(price: str = "tokens", route: str = "") -> str:
    return POLICY % (price, route)


async def why_not(gateway: AssembledGateway, call_id: str) -> dict[str, str]:
    [row] = [row for row in await gateway.rows(call_id) if row.kind == "call"]
    assert row.history is not None
    return dict(row.history.not_asked)


@pytest.mark.parametrize(
    ("model", "price", "route", "failure", "told"),
    [
        ("chat", "seconds", "", BackendError(F.FAILED, "x"), "repeat"),
        ("chat", "tokens", ", repeat: never", BackendError(F.FAILED, "x"), "repeat"),
        ("chat", "tokens", ", idempotent: false", BackendError(F.FAILED, "x"), "not_idempotent"),
        ("infer", "tokens", "", BackendError(F.TIMEOUT, "x"), "not_idempotent"),
        ("chat", "tokens", ", retries: {attempts: 1}", BackendError(F.FAILED, "x"), "attempts"),
        ("chat", "tokens", ", retries: {on: [timeout]}", BackendError(F.FAILED, "x"),
         "failure_not_listed"),
        ("chat", "tokens", "", BackendError(F.FLAGGED, "x"), "request"),
        ("chat", "tokens", "", BackendError(F.INVALID, "x", fault=Fault.REQUEST), "request"),
    ],
    ids=lambda value: value if isinstance(value, str) else value.failure.slug,
)  # fmt: skip
async def test_a_rule_that_ends_the_walk_is_told_of_each_backend_that_was_left(
    model: str,
    price: str,
    route: str,
    failure: BackendError,
    told: str,
    tmp_path: Path,
    clock: FakeClock,
) -> None:
    async with assembled(tmp_path, clock, policy(price, route)) as gateway:
        gateway.fake("first").tell(failure)
        state = gateway.call_state(model)
        with pytest.raises(ApiError) as caught:
            await gateway.ask(state)
        others = ["second", "third"] if model == "chat" else ["second"]
        assert await why_not(gateway, state.call.id) == dict.fromkeys(others, told)
        assert "budget" not in caught.value.message


async def test_a_repetition_budget_that_is_used_up_is_told(
    tmp_path: Path, clock: FakeClock
) -> None:
    """Ten a minute are always allowed."""
    async with assembled(tmp_path, clock, policy(route=", retries: {budget: 1}")) as gateway:
        rich = msgspec.structs.replace(ALICE, plan="")
        states = [
            gateway.call_state(principal=msgspec.structs.replace(rich, key_id=f"key_{n}"))
            for n in range(11)
        ]
        flagged = BackendError(F.TOO_LARGE, "too large")
        gateway.fake("first").answers = lambda _: flagged
        for state in states[:-1]:
            await gateway.ask(state)
        with pytest.raises(ApiError):
            await gateway.ask(states[-1])
        told = await why_not(gateway, states[-1].call.id)
        assert told == {"second": "repeat_budget", "third": "repeat_budget"}


async def test_a_call_that_has_had_its_time_says_so(tmp_path: Path, clock: FakeClock) -> None:
    async with assembled(tmp_path, clock, policy(route=", answer: none")) as gateway:
        gateway.fake("first").runs_for = 1e6
        state, task = gateway.start()
        await gateway.until_asked("first")
        await gateway.until_done([task], step=300.0)
        assert set((await why_not(gateway, state.call.id)).values()) == {"deadline"}


@pytest.mark.parametrize("failure", [F.UNREACHABLE, F.FAILED], ids=lambda f: f.slug)
async def test_a_budget_without_room_for_the_overflow_is_told_at_once(
    failure: FailureClass, tmp_path: Path, clock: FakeClock
) -> None:
    """They were struck off when the call was admitted."""
    async with assembled(tmp_path, clock, policy("hours")) as gateway:
        gateway.fake("first").tell(BackendError(failure, "it failed"))
        state = gateway.call_state(principal=POOR)
        with pytest.raises(ApiError) as caught:
            await gateway.ask(state)
        assert "the budget has no room" in caught.value.message
        assert "second, third" in caught.value.message
        told = await why_not(gateway, state.call.id)
        assert told == {"second": "budget", "third": "budget"}


async def test_what_was_struck_off_is_told_of_a_call_that_was_answered_too(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock, policy("hours")) as gateway:
        state = gateway.call_state(principal=POOR)
        await gateway.ask(state)
        told = await why_not(gateway, state.call.id)
        assert told == {"second": "budget", "third": "budget"}


async def test_money_that_a_failed_attempt_has_used_up_is_why_no_other_is_asked(
    tmp_path: Path, clock: FakeClock
) -> None:
    text = policy("seconds", ", repeat: always").replace("spend: 0.5", "spend: 1.5")
    async with assembled(tmp_path, clock, text) as gateway:
        used = Usage(exec_s=900.0, reported=True)
        gateway.fake("first").tell(BackendError(F.FAILED, "it failed", usage=used))
        state = gateway.call_state(principal=POOR)
        with pytest.raises(ApiError) as caught:
            await gateway.ask(state)
        assert "the budget has no room" in caught.value.message
        told = await why_not(gateway, state.call.id)
        assert told == {"second": "budget", "third": "budget"}


async def test_a_store_that_does_not_say_whether_there_is_room_is_no_budget(
    tmp_path: Path, clock: FakeClock
) -> None:
    trouble = Trouble()
    shared = FailingShared(clock).told(trouble)
    text = policy("seconds", ", repeat: always")
    async with assembled(tmp_path, clock, text, shared=shared) as gateway:
        trouble.fails("before", "extend")
        used = Usage(exec_s=3.0, reported=True)
        gateway.fake("first").tell(BackendError(F.FAILED, "it failed", usage=used))
        state = gateway.call_state()
        with pytest.raises(ApiError) as caught:
            await gateway.ask(state)
        assert "budget" not in caught.value.message
        told = await why_not(gateway, state.call.id)
        assert told == {"second": "store", "third": "store"}


async def test_money_is_not_blamed_where_no_other_would_have_been_asked_anyway(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock, policy("hours")) as gateway:
        gateway.fake("first").tell(BackendError(F.FLAGGED, "against the rules"))
        state = gateway.call_state(principal=POOR)
        with pytest.raises(ApiError) as caught:
            await gateway.ask(state)
        assert "budget" not in caught.value.message
        assert set((await why_not(gateway, state.call.id)).values()) == {"request"}


async def test_an_answer_at_once_leaves_nothing_to_explain(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock, policy()) as gateway:
        state = gateway.call_state()
        await gateway.ask(state)
        assert state.not_asked == ()


# --- the reason ----------------------------------------------------------------------------------


async def test_the_reason_is_that_of_the_backend_that_is_asked_first(
    tmp_path: Path, clock: FakeClock
) -> None:
    """The first choice was too dear for what is left: not a spill, but the least delay."""
    one = "kind: fake, slots: 1, concurrency: 1, price: hours"
    text = policy("hours").replace(", order: listed", "").replace("kind: fake, price: hours", one)
    text = text.replace("slo: 5s", "slo: 1s")
    async with assembled(tmp_path, clock, text) as gateway:
        gateway.fake("first").runs_for = 10.0
        _, busy = gateway.start()
        await gateway.until_asked("first")
        rich = gateway.call_state()
        await gateway.ask(rich)
        assert (rich.backend and rich.backend.name, rich.reason) == ("second", "SPILL_WARM")
        poor, task = gateway.start(principal=POOR)
        await gateway.until_done([busy, task], step=1.0)
        assert (poor.backend and poor.backend.name, poor.reason) == ("first", "LEAST_DELAY")


# --- what is shown -------------------------------------------------------------------------------

CHAT = {"model": "chat", "messages": [{"role": "user", "content": "hi"}]}


async def shown(client: httpx.AsyncClient, answer: httpx.Response) -> dict[str, object]:
    told: dict[str, object] = (await client.get(f"/usage/{answer.headers['x-request-id']}")).json()
    return told


async def test_it_is_shown_beside_the_attempts(tmp_path: Path, clock: FakeClock) -> None:
    async with (
        assembled(tmp_path, clock, policy("seconds")) as gateway,
        gateway.client() as client,
    ):
        gateway.fake("first").tell(BackendError(F.FAILED, "it failed"))
        told = await shown(client, await client.post("/v1/chat/completions", json=CHAT))
        assert told["not_asked"] == [
            {"backend": "second", "reason": "repeat"},
            {"backend": "third", "reason": "repeat"},
        ]


async def test_every_attempt_is_shown_in_one_shape_with_what_it_cost(
    tmp_path: Path, clock: FakeClock
) -> None:
    """A free one, one that has a row of its own, and the last, which is charged in the call's."""
    text = policy("seconds", ", repeat: always").replace(
        "third: {kind: fake, price: calls}", "third: {kind: fake, price: seconds}"
    )
    async with assembled(tmp_path, clock, text) as gateway, gateway.client() as client:
        used = Usage(exec_s=3.0, reported=True)
        gateway.fake("first").tell(BackendError(F.FAILED, "one", usage=used))
        gateway.fake("second").tell(BackendError(F.UNREACHABLE, "two"))
        gateway.fake("third").tell(BackendError(F.FAILED, "three", usage=used))
        told = await shown(client, await client.post("/v1/chat/completions", json=CHAT))
        attempts: list[dict[str, object]] = told["attempts"]  # type: ignore[assignment]
        assert {frozenset(one) for one in attempts} == {frozenset(attempts[0])}
        costs = [one["cost_nano"] for one in attempts]
        assert costs == [3_000_000, 0, 3_000_000]
        assert told["total_cost_nano"] == sum(costs)  # type: ignore[arg-type]
        assert [one["cost_usd"] for one in attempts] == [0.003, 0.0, 0.003]


@pytest.mark.parametrize(
    "failure",
    [
        BackendError(F.OVERLOADED, "slow down", fault=Fault.SUSPECT, status=429),
        BackendError(F.OVERLOADED, "full", status=503),
        BackendError(F.GONE, "no", status=404, code="model_not_found", fault=Fault.SUSPECT),
        BackendError(F.CREDENTIAL, "no", status=401),
        BackendError(F.FLAGGED, "no", status=403, code="content_policy_violation"),
        BackendError(F.TIMEOUT, "late"),
        BackendError(F.SHORTAGE, "no descriptors"),
    ],
    ids=lambda failure: f"{failure.failure.slug}-{failure.status}",
)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_the_rows_status_is_the_one_that_the_caller_saw(
    failure: BackendError, stream: bool, tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock, policy()) as gateway, gateway.client() as client:
        for name in ("first", "second", "third"):
            gateway.fake(name).answers = lambda _: failure
        body = CHAT | {"stream": stream}
        answer = await client.post("/v1/chat/completions", json=body)
        assert (await shown(client, answer))["status"] == answer.status_code


async def test_the_status_of_a_broken_stream_is_that_of_the_error_that_ended_it(
    tmp_path: Path, clock: FakeClock
) -> None:
    """The caller has seen the head of an answer before it."""
    async with assembled(tmp_path, clock, policy()) as gateway, gateway.client() as client:
        token = Chunk(b'data: {"choices":[{"delta":{"content":"Hi"}}]}\n\n')
        gateway.fake("first").tell([token, BackendError(F.TRUNCATED, "it broke off")])
        answer = await client.post("/v1/chat/completions", json=CHAT | {"stream": True})
        last = json.loads(answer.text.strip().rpartition("data: ")[2])
        told = await shown(client, answer)
        assert (last["error"]["code"], told["status"]) == ("backend_truncated", 502)
