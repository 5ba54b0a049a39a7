"""Each kind of scope has an answer of its own while the shared store is lost."""

from __future__ import annotations

import msgspec
import pytest

from gateway.money.scopes import (
    GATEWAY,
    WARM_POOL,
    backend_scope,
    key_scope,
    model_scope,
    plan_scope,
    tag_scope,
    user_scope,
)
from gateway.policy.sections.store import WhenLost
from gateway.storage.base import Claim
from gateway.storage.outage.answers import LostAnswers

SCOPES = {
    "key": key_scope("k1"),
    "user": user_scope("ann"),
    "plan": plan_scope("pro"),
    "tag": tag_scope("team", "nlp"),
    "model": model_scope("chat"),
    "backend": backend_scope("home"),
    "warm_pool": WARM_POOL,
    "gateway": GATEWAY,
}


def answer(given: WhenLost, scope: str) -> str:
    return LostAnswers(given.named, given.rest).of(Claim(scope, "nano_usd", "day", 1, 1))


@pytest.mark.parametrize("kind", SCOPES)
def test_it_holds_for_its_scope_and_for_no_other(kind: str) -> None:
    given = msgspec.convert({kind: "open", "rest": "share"}, WhenLost)
    found = {name: answer(given, scope) for name, scope in SCOPES.items()}
    assert found == {**dict.fromkeys(SCOPES, "share"), kind: "open"}


def test_every_key_of_the_policy_is_one() -> None:
    assert {*SCOPES, "rest"} == set(WhenLost.__struct_fields__)
