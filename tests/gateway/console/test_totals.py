"""What a call cost is one figure, wherever it is told."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

from adapters.errors import BackendError, FailureClass
from adapters.types import Usage
from gateway.clock import FakeClock
from gateway.console.drawing.figures import dollars, money
from gateway.console.sign_in.cookies import PREFIX
from gateway.money.text import usd
from tests.gateway.assembled import assembled
from tests.gateway.console.visitors import CHAT, browser, called, policy_in


async def test_an_attempt_that_failed_and_was_charged_is_in_every_sum(
    tmp_path: Path, clock: FakeClock
) -> None:
    """As its caller was told it: in the list, the record, the report, and on each page."""
    text = policy_in(tmp_path).replace(
        "chat, backends: [home, burst]", "chat, backends: [spare, burst]"
    )
    text = text.replace("models:\n", "  spare: {kind: fake, price: flex}\nmodels:\n")
    async with assembled(tmp_path, clock, text) as gateway:
        used = Usage(exec_s=4.0, gpu_s=4.0, reported=True)
        gateway.fake("spare").tell(BackendError(FailureClass.WORKER_DIED, "gone", usage=used))
        gateway.fake("burst").runs_for = 2.0
        async with gateway.client(gateway.key("alice")) as client:
            task = asyncio.ensure_future(client.post("/v1/chat/completions", json=CHAT))
            await gateway.until_done([task], step=1.0)
            await clock.advance(1)
            headers = task.result().headers
            [listed] = (await client.get("/usage/calls")).json()["data"]
            record = (await client.get(f"/usage/{headers['x-request-id']}")).json()
            report = (await client.get("/usage")).json()["totals"]
        await called(gateway, "bob")
        nano = record["total_cost_nano"]
        assert nano > listed["cost_nano"], "the call's own row is not all of it"
        assert (listed["total_cost_nano"], report["cost_nano"]) == (nano, nano)
        assert headers["x-spillgate-cost"] == usd(nano)
        async with browser(gateway, gateway.key("root", admin=True)) as client:
            calls = (await client.get(f"{PREFIX}/calls?user=alice")).text
            spend = (await client.get(f"{PREFIX}/spend")).text
    assert re.findall(r"device time, <a [^>]*>([^<]*)</a>", calls) == [dollars(nano)]
    assert f'<td class="n">{money(nano, 6)}</td></tr>' in calls
    assert spend.count(f">{money(nano, 6)}<") == 3, "of the user, in all, and of his model"
