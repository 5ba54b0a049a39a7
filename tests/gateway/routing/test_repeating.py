"""Who is asked after a failure: nobody runs a call twice that would be billed twice."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from adapters.errors import BackendError, FailureClass, Fault, Ran
from gateway.clock import FakeClock
from gateway.money.pricing import FREE, Estimate
from gateway.policy.model import Retries
from gateway.policy.sections.price import Price
from gateway.routing.forecast import NO_DELAY
from gateway.routing.repeating import (
    Asked,
    NextStep,
    RepeatBudget,
    RepeatRules,
    costs_tokens_at_most,
    may_go_on,
    next_step,
    spread,
)
from gateway.routing.router import Quote
from tests.gateway.assembled import assembled

F = FailureClass
TOKENS = Price(per_million_input=1)
HOURLY = Price(per_hour=1)
SECONDS = Price(per_second=1)
CALLS = Price(per_call=1)
CHAT = RepeatRules(idempotent=True, slo=10.0)
INFER = RepeatRules(idempotent=False, slo=10.0)


def asked(
    failure: FailureClass = F.FAILED,
    *,
    backend: str = "first",
    price: Price | None = TOKENS,
    fault: Fault | None = None,
    repeat: Any = "auto",
    context: int | None = None,
) -> Asked:
    return Asked(backend, failure, fault or failure.fault, price, repeat, context)


def quote(backend: str, cost: int = 0) -> Quote:
    charge = Estimate(marginal=cost, charge=cost, hold=cost, per_second=0) if cost else FREE
    return Quote(backend, NO_DELAY, charge, not cost, bool(cost), 1.0)


def step(
    failure: BackendError,
    *untried: str,
    rules: RepeatRules = CHAT,
    before: tuple[Asked, ...] = (),
    own: Quote | None = None,
    contexts: Mapping[str, int | None] | None = None,
    context: int | None = None,
    spent_s: float = 0.0,
) -> NextStep:
    last = asked(failure.failure, backend="last", fault=failure.fault, context=context)
    found = {**dict.fromkeys(untried), **(contexts or {})}
    quotes = [quote(name) for name in untried]
    return next_step(rules, failure, [*before, last], own or quote("last"), quotes, found, spent_s)


def names(found: NextStep) -> list[str]:
    return [one.backend for one in found.quotes]


@pytest.mark.parametrize(
    ("price", "free"),
    [
        (None, True),
        (HOURLY, True),
        (TOKENS, True),
        (SECONDS, False),
        (CALLS, False),
        (Price(per_image=1), False),
        (Price(per_audio_second=1), False),
    ],
)
def test_a_repetition_costs_tokens_at_most_where_no_time_and_no_call_is_bought(
    price: Price | None, free: bool
) -> None:
    assert costs_tokens_at_most(price) is free


@pytest.mark.parametrize("repeat", ["auto", "always", "never"])
@pytest.mark.parametrize("price", [None, HOURLY, TOKENS, SECONDS, CALLS])
@pytest.mark.parametrize("rules", [CHAT, INFER])
def test_what_has_not_run_goes_on_whatever_it_costs(
    rules: RepeatRules, price: Price | None, repeat: str
) -> None:
    failure = BackendError(F.TIMEOUT, "it was still queued", ran=Ran.NO)
    assert may_go_on(rules, failure, asked(F.TIMEOUT, price=price, repeat=repeat))


@pytest.mark.parametrize("failure", [f for f in F if f.ran is not Ran.NO], ids=lambda f: f.slug)
def test_what_may_have_run_goes_on_where_that_does_no_harm_and_costs_tokens_at_most(
    failure: FailureClass,
) -> None:
    error = BackendError(failure, "it failed")
    backends = failure.fault is Fault.BACKEND
    assert may_go_on(CHAT, error, asked(failure, price=TOKENS)) is backends
    assert not may_go_on(INFER, error, asked(failure, price=TOKENS))
    assert not may_go_on(CHAT, error, asked(failure, price=SECONDS))
    assert may_go_on(CHAT, error, asked(failure, price=SECONDS, repeat="always")) is backends
    assert not may_go_on(CHAT, error, asked(failure, price=TOKENS, repeat="never"))


def test_a_routes_rule_beats_the_backends() -> None:
    always = RepeatRules(idempotent=True, repeat="always")
    never = RepeatRules(idempotent=True, repeat="never")
    error = BackendError(F.FAILED, "it failed")
    assert may_go_on(always, error, asked(price=SECONDS, repeat="never"))
    assert not may_go_on(never, error, asked(price=TOKENS, repeat="always"))


@pytest.mark.parametrize("failure", list(F), ids=lambda f: f.slug)
def test_a_request_that_is_at_fault_is_sent_to_nobody_else(failure: FailureClass) -> None:
    assert not step(BackendError(failure, "no", fault=Fault.REQUEST), "next")


@pytest.mark.parametrize("failure", [F.QUOTA, F.GONE, F.INVALID, F.TOO_LARGE, F.CREDENTIAL])
def test_a_suspect_request_is_sent_to_a_second_backend_and_to_no_third(
    failure: FailureClass,
) -> None:
    """Where two say the same of it, it is to blame."""
    error = BackendError(failure, "no", fault=Fault.SUSPECT)
    assert names(step(error, "second", "third")) == ["second", "third"]
    first = asked(failure, fault=Fault.SUSPECT)
    assert not step(error, "third", before=(first,))


def test_two_backends_without_room_say_nothing_of_the_request() -> None:
    error = BackendError(F.OVERLOADED, "slow down", fault=Fault.SUSPECT)
    first = asked(F.OVERLOADED, fault=Fault.SUSPECT)
    assert names(step(error, "third", before=(first,))) == ["third"]


def test_what_is_too_long_goes_on_to_where_more_is_taken() -> None:
    """Not to one that is declared as small; and after two have refused it, only to one that is
    declared larger than both."""
    error = BackendError(F.CONTEXT_TOO_LONG, "too long")
    contexts = {"small": 4096, "large": 32_768}
    assert names(step(error, "small", "large", "any", contexts=contexts, context=8192)) == [
        "large",
        "any",
    ]
    first = asked(F.CONTEXT_TOO_LONG)
    assert names(step(error, "any", "large", contexts=contexts, before=(first,))) == ["large"]
    assert not step(error, "any", before=(first,))


def test_the_same_backend_is_asked_again_after_the_moment_that_it_asks_for() -> None:
    """Once, and only where no other is as cheap and the caller need not wait too long."""
    busy = BackendError(F.OVERLOADED, "full", retry_after=1.5)
    assert step(busy) == NextStep((quote("last"),), 1.5)
    assert names(step(busy, "next")) == ["next"]
    assert not step(busy, spent_s=9.0)
    assert not step(BackendError(F.OVERLOADED, "full", retry_after=30.0))
    assert not step(busy, before=(asked(F.OVERLOADED, backend="last"),))


def test_a_kept_connection_that_died_is_replaced_where_the_call_may_run_twice() -> None:
    died = BackendError(F.AMBIGUOUS, "closed", reused=True)
    assert step(died) == NextStep((quote("last"),), 0.0)
    assert not step(died, rules=INFER)
    assert not step(BackendError(F.AMBIGUOUS, "closed"))


def test_the_cheaper_backend_is_worth_a_short_wait() -> None:
    busy = BackendError(F.OVERLOADED, "full", retry_after=0.5)
    last = asked(F.OVERLOADED, backend="last")
    found = next_step(CHAT, busy, [last], quote("last"), [quote("dear", 9)], {"dear": None}, 0.0)
    assert found == NextStep((quote("last"), quote("dear", 9)), 0.5)


def test_a_route_bounds_attempts_and_names_failures() -> None:
    once = RepeatRules(idempotent=True, retries=Retries(attempts=1))
    named = RepeatRules(idempotent=True, retries=Retries(on=("timeout",)))
    error = BackendError(F.UNREACHABLE, "no")
    assert not step(error, "next", rules=once)
    assert not step(error, "next", rules=named)
    assert names(step(BackendError(F.TIMEOUT, "late"), "next", rules=named)) == ["next"]


# --- the budget -----------------------------------------------------------------------------------


def test_a_budget_is_a_share_of_the_calls_of_the_last_minute() -> None:
    budget = RepeatBudget()
    for _ in range(1000):
        budget.call(100.0)
    assert sum(budget.take(101.0, 20.0) for _ in range(500)) == 200


def test_a_few_repetitions_are_always_allowed_and_return_with_time() -> None:
    budget = RepeatBudget()
    assert sum(budget.take(100.0, 20.0) for _ in range(50)) == RepeatBudget.FREE
    assert not budget.take(130.0, 20.0)
    assert budget.take(220.0, 20.0)


def test_a_full_budget_empties_evenly() -> None:
    """The older minute fades; it does not fall away at once."""
    budget = RepeatBudget()
    budget.call(0.0)
    for _ in range(RepeatBudget.FREE):
        assert budget.take(1.0, 20.0)
    assert not budget.take(60.5, 20.0)
    assert sum(budget.take(90.0, 20.0) for _ in range(50)) == RepeatBudget.FREE // 2


@pytest.mark.parametrize(
    ("declared", "idempotent"),
    [
        *[(f"{{task: {task}, backends: [home]}}", True) for task in ("chat", "images", "speech")],
        ("{task: infer, backends: [home]}", False),
        ("{task: other, path: /v1/x, backends: [home]}", False),
        ("{task: other, path: /v1/x, idempotent: true, backends: [home]}", True),
    ],
    ids=["chat", "images", "speech", "infer", "other", "other that says so"],
)
async def test_what_may_do_anything_is_repeated_only_where_the_policy_says_so(
    declared: str, idempotent: bool, tmp_path: Path, clock: FakeClock
) -> None:
    policy = f"""
version: 1
server: {{tls: "off", access_log: false}}
backends:
  home: {{kind: fake}}
models:
  m: {declared}
plans:
  default: {{concurrent: 1}}
"""
    async with assembled(tmp_path, clock, policy) as gateway:
        active = gateway.inner.active
        assert active.rules("m", active.policy.routes[0].name).idempotent is idempotent


def test_a_wait_is_never_shorter_than_it_was_asked_for_and_a_quarter_longer_at_most() -> None:
    assert [spread(2.0, draw) for draw in (0.0, 0.5, 1.0)] == [2.0, 2.25, 2.5]
    assert spread(0.0, 0.9) == 0.0
