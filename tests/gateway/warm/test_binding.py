"""What ``check`` says of when calls are bound to a backend, and of plans in vain."""

from __future__ import annotations

from gateway.policy.reader import read_policy_text
from gateway.warm.binding import AT_ONCE, BY_PLAN, BY_SLOTS, binding_of, plans_in_vain

TEXT = """
version: 1
server: {tls: "off"}
backends:
  pod: {kind: runpod, endpoint: abc123, api_key: "${KEY}", cold_start: {p50: 5s, p95: 9s}}
  home: {kind: openai, base_url: "http://localhost:1", concurrency: 2}
  web: {kind: http, base_url: "http://localhost:2", cold_start: {p50: 5s, p95: 9s}}
models:
  chat: {task: chat, backends: [home, pod]}
  any: {task: infer, backends: [web]}
warm_pool:
  pod: {plan: PLAN}
  web: {plan: PLAN}
"""
KEYS = {"KEY": "secret"}


def test_each_backend_takes_one_of_three_ways() -> None:
    for plan, of_pod in (("act", BY_PLAN), ("observe", AT_ONCE)):
        policy = read_policy_text(TEXT.replace("PLAN", plan), KEYS)
        ways = [binding_of(policy, policy.backends[name]) for name in ("pod", "home", "web")]
        assert ways == [of_pod, BY_SLOTS, AT_ONCE]


def test_a_plan_that_nobody_can_be_told_is_warned_of() -> None:
    policy = read_policy_text(TEXT.replace("PLAN", "act"), KEYS)
    [problem] = plans_in_vain(policy, {})
    assert problem.path == "warm_pool.web.plan"
    assert not list(plans_in_vain(read_policy_text(TEXT.replace("PLAN", "observe"), KEYS), {}))
