"""The page of one call for which two backends were asked."""

from __future__ import annotations

import asyncio
from pathlib import Path

from gateway.clock import FakeClock
from gateway.console.sign_in.cookies import PREFIX
from tests.gateway.assembled import assembled
from tests.gateway.console.visitors import CHAT, browser
from tests.gateway.hedging.calls import policy, runs


async def test_what_was_left_for_a_quicker_one_is_no_failure(
    tmp_path: Path, clock: FakeClock
) -> None:
    text = policy("seconds", route=", repeat: always")
    text = text.replace("{tls:", f"{{data: {tmp_path}, tls:")
    async with assembled(tmp_path, clock, text) as gateway:
        runs(gateway, first=4.0, second=60.0)
        async with gateway.client(gateway.key("alice")) as client:
            asking = asyncio.ensure_future(client.post("/v1/chat/completions", json=CHAT))
            await gateway.until_done([asking], step=0.5)
        call = asking.result().headers["x-request-id"]
        async with browser(gateway, gateway.key("alice")) as client:
            page = (await client.get(f"{PREFIX}/calls/{call}")).text
        assert "asked as well, and left after" in page
        assert "failed" not in page
        assert "first runs" in page
