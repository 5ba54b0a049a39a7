"""What a draft of a policy would have saved, as a process of its own says."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.clock import FakeClock
from gateway.console.visits.replayed import DraftPlayed, replayed
from gateway.types import ApiError
from tests.gateway.assembled import AssembledGateway
from tests.gateway.console.visitors import administered, called, done, looked_at

PLAYED = (
    '{"calls": 40, "judged_seconds": 3600, "cost_per_1000": %s, "slo_attainment": 0.995, '
    '"cold_share": 0.01, "more": null}'
)
Put = Callable[[str], str]


@pytest.fixture
def python(tmp_path: Path) -> Put:
    """Makes a program that stands in Python's place, and does as the script says."""

    def put(script: str) -> str:
        program = tmp_path / "python"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o700)
        return str(program)

    return put


async def _asked(gateway: AssembledGateway, program: str, calls: int = 20) -> DraftPlayed:
    for _ in range(calls):
        await called(gateway, "alice")
    inner = gateway.inner
    draft = inner.active.policy.document.replace("5 USD/month", "6 USD/month")
    return await replayed(inner, draft, gateway.clock.time(), program)


@pytest.mark.parametrize(("then", "saves"), [("1.5", 0.25), ("2.5", -0.25), ("2.0", 0.0)])
async def test_a_draft_is_held_against_the_policy_in_force_over_the_calls_of_the_ledger(
    then: str, saves: float, python: Put, tmp_path: Path, clock: FakeClock
) -> None:
    program = python(
        f'wc -l < "$4" >> {tmp_path}/asked; grep -q "6 USD" "$6" '
        f"&& echo '{PLAYED % then}' || echo '{PLAYED % '2.0'}'"
    )
    async with looked_at(tmp_path, clock) as gateway:
        told = await _asked(gateway, program)
    assert (told.now.cost_per_1000, told.then.cost_per_1000) == (2.0, float(then))
    assert told.saves == pytest.approx(saves)
    assert (tmp_path / "asked").read_text().split() == ["20", "20"]


@pytest.mark.parametrize(
    ("script", "words"),
    [("echo no model chat >&2; exit 2", "no model chat"), ("exit 3", "3")],
    ids=["said", "silent"],
)
async def test_one_that_comes_to_nothing_says_why(
    script: str, words: str, python: Put, tmp_path: Path, clock: FakeClock
) -> None:
    async with looked_at(tmp_path, clock) as gateway:
        with pytest.raises(ApiError, match=f"came to nothing: {words}"):
            await _asked(gateway, python(script))


async def test_no_two_are_replayed_at_once(python: Put, tmp_path: Path, clock: FakeClock) -> None:
    async with looked_at(tmp_path, clock) as gateway:
        program = python(f"echo '{PLAYED % '2.0'}'")
        await _asked(gateway, program)
        twice = [_asked(gateway, program, calls=0) for _ in range(2)]
        told = await asyncio.gather(*twice, return_exceptions=True)
        assert [type(one) for one in told] == [DraftPlayed, ApiError]
        await _asked(gateway, program, calls=0)


async def test_of_too_few_calls_the_page_says_so_and_the_draft_stays(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with administered(tmp_path, clock) as (gateway, client):
        draft = gateway.inner.active.policy.document.replace("5 USD", "6 USD")
        page = await done(client, "policy/replay", yaml=draft)
        assert page.status_code == 409
        assert "0 answered calls of the last 24 hours" in page.text
        assert "6 USD" in page.text
