"""The page of one call for which two backends were asked."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from gateway.clock import FakeClock
from gateway.console.sign_in.cookies import PREFIX
from tests.gateway.assembled import assembled
from tests.gateway.console.visitors import CHAT, browser
from tests.gateway.hedging.calls import policy, runs


@pytest.mark.parametrize(
    ("first_s", "second_s", "words", "bar"),
    [
        pytest.param(4.0, 60.0, "asked as well, and left after", "first runs", id="the second"),
        pytest.param(60.0, 0.5, "asked first, and left after", "second runs", id="the first"),
    ],
)
async def test_what_was_left_for_a_quicker_one_is_no_failure(
    first_s: float, second_s: float, words: str, bar: str, tmp_path: Path, clock: FakeClock
) -> None:
    text = policy("seconds", route=", repeat: always")
    text = text.replace("{tls:", f"{{data: {tmp_path}, tls:")
    async with assembled(tmp_path, clock, text) as gateway:
        runs(gateway, first=first_s, second=second_s)
        async with gateway.client(gateway.key("alice")) as client:
            asking = asyncio.ensure_future(client.post("/v1/chat/completions", json=CHAT))
            await gateway.until_done([asking], step=0.5)
        call = asking.result().headers["x-request-id"]
        async with browser(gateway, gateway.key("alice")) as client:
            page = (await client.get(f"{PREFIX}/calls/{call}")).text
        assert words in page
        assert "failed" not in page
        assert bar in page
