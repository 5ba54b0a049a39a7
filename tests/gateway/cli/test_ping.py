"""``spillgate backends ping``: what it costs stands before it, and what it did after it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.gateway.cli.gateways import stand_in
from tests.gateway.cli.shells import Shell

TOLD: dict[str, Any] = {
    "backend": "burst",
    "means": "ping",
    "charged": True,
    "expected_usd": "0.006",
    "at_most_usd": "0.015",
    "account": "system:warm-pool",
    "price": "flex",
    "outcome": "success",
    "ready": True,
    "error": None,
    "message": "",
    "row": "ping_1",
    "cost_usd": "0.00725",
    "took_seconds": 7.31,
    "cold_start_seconds": 7.0,
    "ran_seconds": 0.25,
}
"""What the gateway answers to both questions at once."""
FAILED = {
    "outcome": "error",
    "ready": False,
    "error": "overloaded",
    "message": "no room",
    "cost_usd": "0",
}
PROBED = {"means": "probe", "charged": False, "row": None, "message": "2 warm"}


@pytest.mark.parametrize(
    ("told", "given", "status", "before", "after"),
    [
        ({}, ["--yes"], 0, "costs about $0.006, at most $0.015 (price flex), charged to system:",
         "burst answered after 7.31 s: a cold start of 7 s; $0.00725 in row ping_1"),
        (FAILED, ["--yes"], 1, "costs about", "overloaded: no room; $0 in row ping_1"),
        ({"charged": False}, [], 0, "adds nothing to any bill", "burst answered"),
        (PROBED, [], 0, "costs nothing and wakes no worker", "burst is ready: 2 warm"),
        (PROBED | {"charged": True}, ["--free"], 0, "costs nothing", "burst is ready"),
        ({}, [], 2, "add --yes, or --free", ""),
    ],
    ids=["paid", "failed", "reserved", "probe", "free", "not-confirmed"],
)  # fmt: skip
def test_it_says_what_it_costs_before_and_what_it_did_after(
    told: dict[str, Any], given: list[str], status: int, before: str, after: str, shell: Shell
) -> None:
    with stand_in() as gateway:
        gateway.answers(TOLD | told)
        words = ("backends", "ping", "burst", "--url", gateway.url, "--key", "sg-a", *given)
        printed = shell(*words, status=status)
        assert before in shell.error
        assert after in printed
        assert gateway.path == "/admin/backends/burst/ping"
        assert gateway.body == (
            {"free": True} if "--free" in given else None if status == 2 else {}
        )
