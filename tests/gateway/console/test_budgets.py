"""The budgets of a policy: whose they are, what raises them now, and that each can be changed."""

from __future__ import annotations

import pytest

from gateway.console.pages.budgets import budgets_of
from gateway.console.pages.policy import with_amount
from gateway.policy.reader import read_policy_text
from gateway.policy.syntax.scalars import parse_instant

POLICY = read_policy_text(
    """
version: 1
backends: {b: {kind: openai, base_url: "http://127.0.0.1:9"}}
models: {m: {task: chat, backends: [b]}}
plans:
  team:
    spend: 5 USD/month
    raises: [{spend: 50 USD/month, start: 2026-12-01, end: 2026-12-24T18:00Z, why: the launch}]
    per_key: {spend: 1 USD/month}
    shared: {spend: 100 USD/month}
  free: {requests: 6/minute}
  two: {spend: [1 USD/day, 5 USD/month]}
limits:
  spend: 400 USD/day
  users: {alice: {spend: 2 USD/month}}
  keys: {key_1: {spend: 3 USD/month}}
  tags: {team: {search: {spend: 90 USD/month}, "*": {spend: 30 USD/month}}}
  models: {m: {spend: 7 USD/day}}
  backends: {b: {spend: 8 USD/day}}
  warm_pool: {spend: 3 USD/day}
""",
    {},
)


def test_every_scope_that_has_one_is_listed_and_can_be_changed() -> None:
    listed = budgets_of(POLICY.document, 0.0)
    assert {one.whose: one.amount for one in listed} == {
        "the gateway": "400 USD/day",
        "each user of plan team": "5 USD/month",
        "each key of plan team": "1 USD/month",
        "all of plan team together": "100 USD/month",
        "the user alice": "2 USD/month",
        "the key key_1": "3 USD/month",
        "calls of the model m": "7 USD/day",
        "the backend b": "8 USD/day",
        "team search": "90 USD/month",
        "each other team": "30 USD/month",
        "pings and spares": "3 USD/day",
    }
    for one in listed:
        changed = with_amount(POLICY.document, one.place.split("|"), "77 USD/month")
        [now] = [each for each in budgets_of(changed, 0.0) if each.place == one.place]
        assert now.amount == "77 USD/month"
        assert changed.count("77 USD/month") == 1


@pytest.mark.parametrize(
    ("at", "raised"),
    [
        ("2026-11-30", ""),
        ("2026-12-01", "50 USD/month until 2026-12-24T18:00Z"),
        ("2026-12-24T18:00Z", ""),
    ],
    ids=["before", "meanwhile", "after"],
)
def test_what_raises_it_is_told_while_it_does(at: str, raised: str) -> None:
    listed = {one.whose: one for one in budgets_of(POLICY.document, parse_instant(at))}
    assert listed["each user of plan team"].raised == raised
    assert listed["the gateway"].raised == ""
