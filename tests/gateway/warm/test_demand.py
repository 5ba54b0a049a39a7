"""What the planner sees of the calls that are there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gateway.clock import FakeClock
from gateway.warm.demand import seen_by
from tests.gateway.assembled import assembled


@pytest.mark.parametrize("is_job", [True, False])
async def test_a_job_whose_answer_waits_for_the_store_needs_no_worker(
    is_job: bool, tmp_path: Path, clock: FakeClock
) -> None:
    durable: Any = object()
    async with assembled(tmp_path, clock) as gateway:
        active = gateway.inner.active
        gateway.fake("burst").runs_for = 60.0
        state, task = gateway.start("far")
        await gateway.until_asked("burst")
        begun: Any = state
        [call] = begun._box
        call.durable = durable if is_job else None

        def seen() -> tuple[int, int]:
            backend = active.backends["burst"]
            found, _ = seen_by(active, backend, frozenset({"far"}), [call], clock.monotonic(), {})
            return found.load, found.jobs

        assert seen() == (1, int(is_job))
        call.attempt.progress.ended_at = clock.monotonic()
        assert seen() == ((0, 0) if is_job else (1, 0))
        call.durable = None
        await gateway.until_done([task], 5.0)
