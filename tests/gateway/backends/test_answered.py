"""Calls that go on after their work: what is the machine's ends when it has answered."""

from __future__ import annotations

import asyncio
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.errors import BackendError, FailureClass
from adapters.types import Call, Usage
from gateway.backends.leases import Lease
from gateway.clock import FakeClock
from tests.gateway.assembled import POLICY
from tests.gateway.backends.test_live import end, live_backend

USED = Usage(exec_s=1.0, gpu_s=1.0)
CAME = st.sampled_from(
    [USED, BackendError(FailureClass.FAILED, "it fell over"), ValueError("a fault")]
)


@given(st.lists(st.tuples(st.booleans(), CAME), max_size=6), st.randoms(use_true_random=False))
def test_what_was_answered_is_gone_from_the_machine_and_ends_once(
    kept: list[tuple[bool, Usage | Exception]], chance: random.Random
) -> None:
    """A place that is kept is given back at the end; what is learned is of the answer's instant."""

    async def run() -> None:
        clock = FakeClock()
        backend = live_backend(clock, text=POLICY.replace("slots: 2", "slots: 9"))
        ended: list[Lease] = []
        for number, (keeps_place, came) in enumerate(kept):
            lease = await backend.lease()
            await clock.advance(1.0)
            assert backend.share_of(lease) == pytest.approx(1.0)
            call = Call(id="c", model="m", task="chat", body=b"")
            backend.answered(lease, call, came, keeps_place=keeps_place, user="u")
            ended.append(lease)
            assert (
                backend.in_flight
                == backend.queue.running
                == sum(keeps for keeps, _ in kept[: number + 1])
            )
            assert backend.leases.calls == 0
        chance.shuffle(ended)
        run_s = backend.learned.run_time("m")
        await clock.advance(100.0)
        for lease in ended:
            end(backend, lease, Usage(exec_s=50.0))
        assert backend.in_flight == backend.queue.running == 0
        assert backend.learned.run_time("m") == run_s

    asyncio.run(run())
