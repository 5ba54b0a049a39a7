"""Workers that run calls one by one are sent no second one."""

from __future__ import annotations

import asyncio
from typing import cast

from adapters.fake import Fake
from adapters.types import Capabilities, Probe
from gateway.clock import FakeClock, settle
from tests.gateway.assembled import POLICY
from tests.gateway.backends.test_live import end, live_backend


async def test_one_whose_workers_run_calls_one_by_one_is_sent_no_more_from_the_beginning(
    clock: FakeClock,
) -> None:
    """A call that is sent waits for its own worker, while another one may be free sooner."""
    backend = live_backend(clock, text=POLICY)
    cast(Fake, backend.adapter).capabilities = Capabilities(one_by_one=True)
    backend.probed(Probe(ready=True))
    calls = [asyncio.ensure_future(backend.lease()) for _ in range(6)]
    await settle()
    assert sum(call.done() for call in calls) == 2
    for call in calls:
        end(backend, await call)
