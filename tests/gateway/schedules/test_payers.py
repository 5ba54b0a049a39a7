"""Who is asked to pay for what a schedule begins, and what is said where nobody can be."""

from __future__ import annotations

import pytest

from gateway.policy.reader import read_policy_text
from gateway.schedules.payers import payer_of
from gateway.storage.key_records import KeyRecord
from gateway.types import ApiError, Principal

POLICY = """
version: 1
backends: {b: {kind: openai, base_url: "http://127.0.0.1:9"}}
models: {m: {task: chat, backends: [b]}}
schedules: {tick: {cron: "* * * * *", user: dora, job: {model: m, input: {messages: []}}}}
"""


@pytest.mark.parametrize(
    ("revoked", "said"),
    [
        ([], "dora has no key"),
        ([1.0], "dora has no key that is good for this"),
        ([1.0, 1.0], "dora has no key that is good for this"),
    ],
    ids=["none", "one that was revoked", "two"],
)
def test_a_user_of_whom_no_key_can_pay_is_named(revoked: list[float], said: str) -> None:
    [schedule] = read_policy_text(POLICY, {}).schedules.values()
    keys = [
        KeyRecord(
            principal=Principal(key_id=f"key_{n}", user="dora"), revoked_at=at, created_at=0.0
        )
        for n, at in enumerate(revoked)
    ]
    with pytest.raises(ApiError, match=f"^Nobody pays: {said}[.]$"):
        payer_of(schedule, keys, 2.0)
