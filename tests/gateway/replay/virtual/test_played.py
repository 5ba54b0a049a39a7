"""What a policy says decides in a replay as it does in a gateway that runs."""

from __future__ import annotations

import random
from collections.abc import Iterable

import pytest

from gateway.policy.reader import read_policy_text
from gateway.replay.traffic import Arrival, Traffic
from gateway.replay.virtual.played import Assumed, PlayedPolicy, play

MONDAY = 1_767_571_200.0
"""2026-01-05, midnight (UTC), in seconds since 1970."""

HEAD = """
version: 1
backends:
  home: {kind: local, app: "a.py:app", workers: 2, price: ours, expect: 1s}
  far: {kind: runpod, endpoint: a, api_key: "${KEY}", price: flex,
        cold_start: {p50: 4s, p95: 4s}, idle_timeout: 5s, expect: 1s}
models:
  m: {task: chat, backends: [home, far], slo: 2s}
prices:
  ours: {per_hour: 3.6, as_of: 2026-01-01, source: a bill}
  flex: {per_second: 0.001, bills: [start, run, idle], as_of: 2026-01-01, source: a list}
"""


def played(
    more: str, arrivals: Iterable[Arrival], *, head: str = HEAD, seed: int = 1, until: float = 600.0
) -> PlayedPolicy:
    """All of it judged."""
    traffic = Traffic(
        name="made up", arrivals=sorted(arrivals, key=lambda one: one.at), slo_s=2.0,
        judged_from=0.0, judged_until=until, weekday=0,
    )  # fmt: skip
    policy = read_policy_text(head + more, {"KEY": "k"})
    return play(policy, traffic, Assumed(model="m", now=MONDAY), seed=seed)


def test_calls_stay_at_home_while_a_slot_is_free_and_spill_where_none_is_in_time() -> None:
    head = HEAD.replace("expect: 1s", "expect: 30s")
    found = played("", [Arrival(float(n), 30.0) for n in range(3)], head=head)
    assert found.backends == {"home": 2, "far": 1}
    assert found.reasons == {"RES_FREE": 2, "LEAST_DELAY": 1}
    outcome = found.outcome
    assert (outcome.calls, outcome.late, outcome.cold, outcome.starts) == (3, 1, 1, 1)
    # A start of 4 s, a run of 30 s and 5 s of waiting, beside two workers for ten minutes.
    assert outcome.serverless_usd == pytest.approx(0.039)
    assert outcome.reserved_usd == pytest.approx(2 * 3.6 / 6)
    assert found.charged_usd == pytest.approx(0.039)


BY_ROUTE = {
    "a user": ("{user: ada}", Arrival(1.0, 1.0, "ada"), Arrival(1.0, 1.0, "bob")),
    "a plan": (
        "{plan: paid}",
        Arrival(1.0, 1.0, "ada", plan="paid"),
        Arrival(1.0, 1.0, "bob", plan="free"),
    ),
    "a stream": ("{stream: true}", Arrival(1.0, 1.0, stream=True), Arrival(1.0, 1.0)),
}
PLANS = "plans: {paid: {}, free: {}}\n"


@pytest.mark.parametrize("name", BY_ROUTE)
def test_routes_choose_by_what_was_recorded_of_a_call(name: str) -> None:
    when, sent, left = BY_ROUTE[name]
    routes = (
        f"routes: [{{name: away, when: {when}, use: [far]}}, {{name: rest, use: [home, far]}}]\n"
    )
    assert played(PLANS + routes, [sent, left]).backends == {"home": 1, "far": 1}
    assert played(PLANS + routes, [left, left]).backends == {"home": 2}


def test_each_call_is_of_the_model_that_was_recorded() -> None:
    head = HEAD.replace("prices:", "  n: {task: chat, backends: [far], slo: 9s}\nprices:")
    calls = [Arrival(1.0, 1.0, model="n"), Arrival(2.0, 1.0, model="m"), Arrival(3.0, 1.0)]
    found = played("", calls, head=head)
    assert found.backends == {"home": 2, "far": 1}
    assert found.outcome.late == 0


def test_a_route_holds_calls_to_its_own_promise_and_price() -> None:
    calls = [Arrival(1.0, 1.0, "ada"), Arrival(1.0, 1.0, "bob")]
    when = "routes: [{name: a, when: {user: ada}, use: [far], slo: 5s}, {name: b, use: [far]}]\n"
    assert played(when, calls).outcome.late == 1
    dear = "routes: [{name: a, use: [far], max_price: 0.001}]\n"
    assert played(dear, calls).refused == {"over_max_price": 2}


def test_limits_of_a_plan_refuse_what_is_beyond_them() -> None:
    plans = "plans: {default: {concurrent: 1}}\n"
    found = played(plans, [Arrival(1.0, 9.0, "ada"), Arrival(2.0, 9.0, "ada"), Arrival(3.0, 9.0)])
    assert sum(found.refused.values()) == 1
    assert found.outcome.late == 1


def test_prices_differ_by_the_hour_of_the_recording() -> None:
    hourly = "bills: [run], by_hours: [{hours: '06:00-12:00', per_second: 0.01}]"
    head = HEAD.replace("bills: [start, run, idle]", hourly)
    away = "routes: [{name: away, use: [far]}]\n"
    six = 6 * 3600.0
    found = played(away, [Arrival(60.0, 10.0), Arrival(six + 60.0, 10.0)], head=head, until=8e4)
    assert found.outcome.serverless_usd == pytest.approx(10 * 0.001 + 10 * 0.01)


def test_a_pool_is_kept_within_its_hours() -> None:
    pool = "warm_pool: {far: {spare: 2, hours: 'Mon 01:00-02:00'}}\n"
    head = HEAD.replace("[home, far], slo", "[far], slo")
    calls = [Arrival(1800.0, 1.0), Arrival(5400.0, 1.0), Arrival(9000.0, 1.0)]
    found = played(pool, calls, head=head, until=10_800.0)
    assert (found.outcome.cold, found.outcome.late) == (2, 2)
    # Two workers for an hour, two starts more, and what idles after the calls outside.
    assert found.outcome.serverless_gpus * 10_800 == pytest.approx(2 * 3600, abs=60)


def test_a_plan_starts_workers_for_calls_that_wait_at_the_gateway() -> None:
    draw, now = random.Random(3), 0.0
    calls = []
    while now < 3600:
        now += draw.expovariate(2.0)
        calls.append(Arrival(now, 2.0))
    plan = "warm_pool: {far: {plan: act, most: 30}}\n"
    with_plan, without = (played(more, calls, until=3600.0).outcome for more in (plan, ""))
    assert with_plan.slo_attainment > 0.98 > without.slo_attainment


@pytest.mark.parametrize("kind", ["http", "modal"])
def test_an_endpoint_runs_as_many_calls_at_once_as_its_kind_is_told(kind: str) -> None:
    endpoint = {
        "http": 'kind: http, base_url: "http://127.0.0.1:1", openai: true',
        "modal": 'kind: modal, app: a, function: f, token_id: "${KEY}", token_secret: "${KEY}", '
        "openai: true, cold_start: {p50: 0.01s, p95: 0.01s}",
    }[kind]
    head = HEAD.replace('kind: local, app: "a.py:app", workers: 2', f"{endpoint}, slots: 2")
    home = "routes: [{name: all, use: [home]}]\n"
    found = played(home, [Arrival(0.0, 10.0) for _ in range(4)], head=head)
    assert found.answer_s[2] == pytest.approx(20.0, abs=0.1)


def test_a_seed_gives_one_result() -> None:
    calls = [Arrival(0.7 * n, 3.0) for n in range(60)]
    head = HEAD.replace("p50: 4s, p95: 4s", "p50: 4s, p95: 9s")
    assert played("", calls, head=head) == played("", calls, head=head)
    assert played("", calls, head=head) != played("", calls, head=head, seed=2)
