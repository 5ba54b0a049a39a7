"""How backends stand, on the pages that tell it."""

from __future__ import annotations

import asyncio
import html
import re
from pathlib import Path

import pytest

from adapters.types import Probe
from gateway.clock import FakeClock
from gateway.console.sign_in.cookies import PREFIX
from tests.gateway.console.visitors import CHAT, administered


def cells(page: str, backend: str) -> dict[str, str]:
    """Of its line of a table: what stands under each head."""
    [row] = [
        one
        for one in re.findall(r"<tr>.*?</tr>", page, re.DOTALL)
        if f"</span>{backend}</a>" in one
    ]
    found = re.findall(r'<td data-label="([^"]+)"[^>]*>(.*?)</td>', row, re.DOTALL)
    return {name: html.unescape(re.sub("<[^>]+>", "", text)) for name, text in found}


@pytest.mark.parametrize(
    ("probe", "words"),
    [
        (Probe(ready=False, warm_workers=0), "asleep: a call would start it"),
        (Probe(ready=False, warm_workers=0, detail="scaled to zero"), "asleep: scaled to zero"),
        (
            Probe(ready=False, detail="not asked, which would wake it", asked=False),
            "probably asleep: a call would start it",
        ),
        (Probe(ready=True, warm_workers=2), "ready, 0 of 4 busy"),
    ],
    ids=["asked", "asked-and-told", "not-asked", "warm"],
)
async def test_what_is_known_of_one_that_may_be_asleep_is_told_as_it_is_known(
    probe: Probe, words: str, tmp_path: Path, clock: FakeClock
) -> None:
    async with administered(tmp_path, clock) as (gateway, client):
        gateway.inner.active.backend("burst").probed(probe)
        for page in ("", "/backends"):
            told = cells((await client.get(PREFIX + page)).text, "burst")
            assert told["state"] == words
        one = (await client.get(f"{PREFIX}/backends/burst")).text
        asked = re.search(r'asked last</th><td>(<time datetime="[^"]+"|never)', one)
        assert asked is not None
        assert (asked[1] == "never") is (not probe.asked)


async def test_those_that_run_and_those_in_line_are_counted_once(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with administered(tmp_path, clock) as (gateway, client):
        gateway.fake("home").runs_for = 60.0
        home = gateway.inner.active.backend("home")
        async with gateway.client(gateway.key("alice")) as caller:
            body = {**CHAT, "model": "any"}
            asking = [
                asyncio.ensure_future(caller.post("/v1/infer/any", json=body)) for _ in range(3)
            ]
            await gateway.clock.advance(0.1)
            assert home.in_flight in (2, 3)
            told = cells((await client.get(PREFIX)).text, "home")
            assert (told["running"], told["in line"]) == ("2", str(home.in_flight - 2))
            assert told["state"] == "ready, 2 of 2 busy"
            await gateway.until_done(asking, step=10.0)
