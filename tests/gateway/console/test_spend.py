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
