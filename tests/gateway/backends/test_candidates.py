"""A backend as the router sees it says what each of its parts says."""

from __future__ import annotations

import asyncio
from typing import cast

from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.fake import Fake
from adapters.types import Probe, Usage
from gateway.backends.candidates import candidate_of
from gateway.backends.leases import Lease
from gateway.backends.live import LiveBackend
from gateway.clock import FakeClock
from gateway.routing.forecast import BackendLoad
from tests.gateway.assembled import POLICY
from tests.gateway.backends.test_live import end, live_backend

BILLS_IDLE = POLICY.replace("bills: [start, run]", "bills: [start, run, idle]")
COUNTED = Probe(ready=True, warm_workers=2, running=5, queued=1, counts_all=True)
SILENT = Probe(ready=True, warm_workers=0)

Step = tuple[str, float]
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["lease", "end", "keep two", "keep none", "counted", "silent"]),
        st.floats(0.0, 30.0),
    ),
    max_size=20,
)


def as_its_parts_say(backend: LiveBackend, now: float) -> BackendLoad:
    """Every part is asked, whether or not the backend can be cold or counts its calls."""
    workers, line, slots = backend.workers, backend.line, backend.slots
    return BackendLoad(
        backend.in_flight + line.others(now) + backend.leases.share.others,
        line.computes(now) if slots is None else slots,
        workers.idle(now) or 0,
        workers.starting_for_s(now),
        tail_s=workers.tail_s(now, backend.price),
    )


def step(backend: LiveBackend, what: str, now: float, leases: list[Lease]) -> None:
    if what == "lease" and (lease := backend.lease_at_once(now, 0.0)) is not None:
        leases.append(lease)
    elif what == "end" and leases:
        end(backend, leases.pop(), Usage(exec_s=2.0, cold_s=3.0))
    elif what.startswith("keep"):
        backend.workers.held.tell(2 if what == "keep two" else 0, now)
    elif what in ("counted", "silent"):
        backend.probed(COUNTED if what == "counted" else SILENT)


@settings(deadline=None, max_examples=50)
@given(name=st.sampled_from(["home", "burst"]), steps=STEPS)
def test_nothing_that_is_passed_over_would_have_said_anything(name: str, steps: list[Step]) -> None:
    """Parts that cannot matter are not asked; the load is the same as if they were."""

    async def run() -> None:
        clock, leases = FakeClock(), list[Lease]()
        backend = live_backend(clock, name, BILLS_IDLE)
        for what, wait_s in steps:
            await clock.advance(wait_s)
            step(backend, what, clock.monotonic(), leases)
            now = clock.monotonic()
            assert candidate_of(backend, "chat", now).load == as_its_parts_say(backend, now)

    asyncio.run(run())


async def test_where_no_worker_is_up_a_call_starts_one(clock: FakeClock) -> None:
    """Of a backend that starts its own: it has no slots until then."""
    backend = live_backend(clock, "burst", POLICY)
    cast(Fake, backend.adapter).slots = 0
    assert candidate_of(backend, "far", clock.monotonic()).load.slots is None
