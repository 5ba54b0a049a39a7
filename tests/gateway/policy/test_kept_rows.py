"""How long rows stay: what is doubtful is told, what is wrong is refused with its place."""

from __future__ import annotations

import base64
import datetime
import re

import pytest

from gateway.policy.reader import read_policy_text
from gateway.policy.syntax.problems import PolicyError
from gateway.policy.warnings.every import warnings_of

SECRET = "whsec_" + base64.b64encode(b"g" * 32).decode()
ENDPOINT = "{url: 'https://billing.example.com/', secret: '${SECRET}', events: [usage]}"
WEBHOOKS = f"webhooks: {{keep: 60d, endpoints: {{b: {ENDPOINT}}}}}\n"


def said(keep: str, more: str = "") -> list[str]:
    policy = read_policy_text(f"version: 1\nstore: {{keep: {keep}}}\n{more}", {"SECRET": SECRET})
    found = warnings_of(policy, today=datetime.date(2026, 11, 29))
    return [f"{one.path}: {one.message}" for one in found]


def test_rows_that_go_to_files_when_all_are_told_of_them_are_said_nothing_of() -> None:
    assert said("{rows: 90d, archive: old}", WEBHOOKS) == []


def test_rows_that_go_nowhere_are_told_of() -> None:
    [told] = said("{rows: 90d}")
    assert told.startswith("store.keep: rows are deleted when they are old enough")


def test_rows_that_leave_before_a_webhook_may_ask_for_them_are_told_of() -> None:
    [told] = said("{rows: 40d, archive: old}", WEBHOOKS)
    assert told.startswith("store.keep.rows: is shorter than webhooks.keep")


@pytest.mark.parametrize(
    ("keep", "told"),
    [
        ("{rows: 34d, archive: old}", "store.keep.rows"),
        ("{rows: soon, archive: old}", "store.keep.rows"),
        ("{archive: old}", "rows"),
        ("{rows: 90d, archive: old, format: xlsx}", "store.keep.format"),
        ("{rows: 90d, folder: old}", "folder"),
    ],
    ids=["too short", "no duration", "without rows", "another format", "another key"],
)
def test_a_bad_setting_is_refused_with_its_place(keep: str, told: str) -> None:
    with pytest.raises(PolicyError, match=re.escape(told)):
        said(keep)


def test_gateways_that_share_a_ledger_are_told_to_see_one_folder() -> None:
    ledger = "store: {ledger: 'postgresql://me@db/x?sslmode=verify-full&sslrootcert=ca.pem'"
    text = f"version: 1\n{ledger}, shared: 'redis://redis/', keep: {{rows: 90d, archive: old}}}}\n"
    found = warnings_of(read_policy_text(text, {}), today=datetime.date(2026, 11, 29))
    told = {one.path: one.message for one in found}
    assert "let all see one folder" in told["store.keep.archive"]
