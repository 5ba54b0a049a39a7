"""Spend: what its bands are called, whoever and whatever the rows are of."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest

from adapters.errors import BackendError, FailureClass
from adapters.types import Usage
from gateway.clock import FakeClock
from gateway.console.sign_in.cookies import PREFIX
from tests.gateway.assembled import assembled
from tests.gateway.console.visitors import CHAT, browser, called, policy_in

SPARE = ("chat, backends: [home, burst]", "chat, backends: [home, burst, spare]")


def bands(page: str) -> list[str]:
    """The labels of the plot, from the top."""
    words = re.findall(r'<span class="word-\w+">([^<]*)</span>', page)
    return [word.strip() for word in words]


@pytest.mark.parametrize("by", ["user", "model", "key", "plan", "backend", "kind"])
async def test_of_one_user_there_are_no_others_though_an_attempt_of_his_failed(
    by: str, tmp_path: Path, clock: FakeClock
) -> None:
    """What it cost is his as well."""
    text = policy_in(tmp_path).replace(*SPARE)
    text = text.replace("models:\n", "  spare: {kind: fake, price: flex}\nmodels:\n")
    async with assembled(tmp_path, clock, text) as gateway:
        used = Usage(exec_s=4.0, gpu_s=4.0, reported=True)
        gateway.fake("home").tell(BackendError(FailureClass.UNREACHABLE, "gone"))
        gateway.fake("spare").tell(BackendError(FailureClass.WORKER_DIED, "gone", usage=used))
        gateway.fake("burst").runs_for = 2.0
        async with gateway.client(gateway.key("alice")) as client:
            task = asyncio.ensure_future(client.post("/v1/chat/completions", json=CHAT))
            await gateway.until_done([task], step=1.0)
        await clock.advance(1)
        async with browser(gateway, gateway.key("root", admin=True)) as client:
            page = (await client.get(f"{PREFIX}/spend?by={by}&metric=gpu")).text
        assert bands(page)
        assert "all others" not in page


async def test_users_without_a_band_of_their_own_are_the_others(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock, policy_in(tmp_path)) as gateway:
        for number in range(8):
            await called(gateway, f"user-{number}")
        async with browser(gateway, gateway.key("root", admin=True)) as client:
            page = (await client.get(f"{PREFIX}/spend?metric=calls")).text
        assert len(bands(page)) == 7
        assert "all others" in bands(page)


@pytest.mark.parametrize("by", ["user", "model", "backend", "kind", "reason"])
async def test_what_starts_cost_is_a_band_of_its_own_and_in_no_other(
    by: str, tmp_path: Path, clock: FakeClock
) -> None:
    """Dollars alone: of calls and seconds nothing is taken away."""
    async with assembled(tmp_path, clock, policy_in(tmp_path)) as gateway:
        burst = gateway.fake("burst")
        burst.runs_for = burst.cold_s = 5.0
        async with gateway.client(gateway.key("alice")) as client:
            call = client.post("/v1/chat/completions", json={**CHAT, "model": "far"})
            task = asyncio.ensure_future(call)
            await gateway.until_done([task], step=1.0)
        assert task.result().status_code == 200
        await clock.advance(1)
        async with browser(gateway, gateway.key("root", admin=True)) as client:
            page = (await client.get(f"{PREFIX}/spend?by={by}&range=today")).text
            calls = (await client.get(f"{PREFIX}/spend?by={by}&range=today&metric=calls")).text
        assert "cold starts" in bands(page)
        assert "cold starts" not in bands(calls)
        assert "all others" not in bands(page)
        [cold] = re.findall(r'<path class="fill-cold" d="M\S+ ([\d.]+)V(-?[\d.]+)', page)
        [used] = re.findall(r'<path class="fill-(?:one|overflow)" d="M\S+ [\d.]+V(-?[\d.]+)', page)
        assert cold[0] == used, "it stands on what is left of the call"


@pytest.mark.parametrize(
    ("query", "each", "columns"),
    [
        ("range=7d", "hour", 168),
        ("range=30d", "day", 31),
        ("range=7d&each=day", "day", 8),
        ("range=90d&each=month", "month", 4),
        ("range=90d&each=hour", "day", 91),
        ("from=2020-01-01&to=2026-01-01", "month", 72),
    ],
)
async def test_a_plot_adds_up_by_what_is_asked_and_by_what_can_be_drawn(
    query: str, each: str, columns: int, tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock, policy_in(tmp_path)) as gateway:
        await called(gateway, "alice")
        async with browser(gateway, gateway.key("root", admin=True)) as client:
            page = (await client.get(f"{PREFIX}/spend?{query}&metric=calls")).text
        assert f"each {each}" in page
        drawn = page.partition('class="columns"')[2].partition("</div>")[0].count("<a ")
        assert drawn in (0, columns - 1, columns)
