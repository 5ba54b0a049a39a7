"""What a draft of a policy would have saved."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.clock import FakeClock
from gateway.console.visits import replayed
from tests.gateway.console.visitors import administered, called, done

PLAYED = (
    '{"calls": 40, "judged_seconds": 3600, "cost_per_1000": %s, "slo_attainment": 0.995, '
    '"cold_share": 0.01, "more": null}'
)


@pytest.fixture
def played(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], None]:
    """Puts a program in the place of Python, which says the answers in turn."""

    def put(script: str) -> None:
        program = tmp_path / "player"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o700)
        monkeypatch.setattr(sys, "executable", str(program))
        monkeypatch.setattr(replayed, "_LEAST_CALLS", 1)

    return put


@pytest.mark.parametrize(
    ("then", "words"),
    [("1.5", "It would have saved"), ("2.5", "It would have cost"), ("2.0", "cost the same")],
    ids=["saves", "costs-more", "the-same"],
)
async def test_a_draft_is_held_against_the_policy_in_force(
    then: str, words: str, played: Callable[[str], None], tmp_path: Path, clock: FakeClock
) -> None:
    """It gets the calls of the ledger, and each policy in turn; nothing comes into force."""
    played(
        f'wc -l < "$4" >> {tmp_path}/asked; case "$6" in *now.yaml) echo \'{PLAYED % "2.0"}\';; '
        f"*) echo '{PLAYED % then}';; esac"
    )
    async with administered(tmp_path, clock) as (gateway, client):
        before = gateway.inner.active.policy
        for user in ("alice", "bob"):
            await called(gateway, user)
        draft = before.document.replace("5 USD/month", "6 USD/month")
        page = await done(client, "policy/replay", yaml=draft)
        assert page.status_code == 200
        assert words in page.text
        assert re.search(r'class="added">\+.*6 USD/month', page.text), "its difference"
        assert (tmp_path / "asked").read_text().split() == ["2", "2"]
        assert gateway.inner.active.policy is before


@pytest.mark.parametrize(
    ("script", "status", "words"),
    [
        ("echo no model chat >&2; exit 2", 503, "came to nothing: no model chat"),
        ("exit 3", 503, "came to nothing: 3"),
    ],
    ids=["said", "silent"],
)
async def test_one_that_comes_to_nothing_says_why_and_the_draft_stays(
    script: str,
    status: int,
    words: str,
    played: Callable[[str], None],
    tmp_path: Path,
    clock: FakeClock,
) -> None:
    played(script)
    async with administered(tmp_path, clock) as (gateway, client):
        await called(gateway, "alice")
        draft = gateway.inner.active.policy.document.replace("5 USD", "6 USD")
        page = await done(client, "policy/replay", yaml=draft)
        assert page.status_code == status
        assert words in page.text
        assert "6 USD" in page.text


async def test_too_few_calls_say_nothing_and_no_two_are_replayed_at_once(
    played: Callable[[str], None], tmp_path: Path, clock: FakeClock
) -> None:
    async with administered(tmp_path, clock) as (gateway, client):
        draft = gateway.inner.active.policy.document
        few = await done(client, "policy/replay", yaml=draft)
        assert (few.status_code, "0 answered calls" in few.text) == (409, True)
        played(f"sleep 0.2; echo '{PLAYED % '2.0'}'")
        await called(gateway, "alice")
        pages = await asyncio.gather(*(done(client, "policy/replay", yaml=draft) for _ in range(2)))
        assert sorted(page.status_code for page in pages) == [200, 409]
        again = await done(client, "policy/replay", yaml=draft)
        assert again.status_code == 200
