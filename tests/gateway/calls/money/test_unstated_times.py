"""Calls at a price by time whose backend does not say how long they ran."""

from __future__ import annotations

from pathlib import Path

import pytest

from adapters.types import Chunk, Reply, Usage
from gateway.clock import FakeClock
from gateway.storage.base import LedgerRow
from tests.gateway.assembled import AssembledGateway, assembled

SECOND = 1_000_000
"""Nano-dollars of one, and microseconds."""
RUN_S = 3.0
WORD = Chunk(b'data: {"word"}\n\n')


async def row_of(gateway: AssembledGateway, name: str, said: Usage, stream: bool) -> LedgerRow:
    """Of a call that took three seconds."""
    last = Chunk(b"data: [DONE]\n\n", "done", said)
    model, backend = {"home": "chat", "burst": "far"}[name], gateway.fake(name)
    backend.runs_for = RUN_S
    backend.tell([WORD, last] if stream else Reply(body=b"{}", usage=said))
    state = gateway.call_state(model, stream=stream)
    answer = await gateway.ask_after(state, RUN_S)
    if stream:
        assert not isinstance(answer, Reply)
        async for _ in answer:
            pass
        await answer.aclose()
    return await gateway.row(state.call.id)


@pytest.mark.parametrize("backend", ["home", "burst"])
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize(
    ("said", "seconds", "basis"),
    [
        (Usage(exec_s=2.0, reported=True), 2.0, "reported"),
        (Usage(), 3.0, "estimated"),
        (Usage(input_tokens=7, output_tokens=3), 3.0, "estimated"),
        (Usage(exec_s=-1.0, reported=True), 3.0, "estimated"),
        (Usage(exec_s=float("nan")), 3.0, "estimated"),
        (Usage(queue_s=1.0), 2.0, "estimated"),
        (Usage(cold_s=1.0), 3.0, "estimated"),
    ],
)
async def test_no_run_is_free_because_nobody_said_how_long_it_was(
    said: Usage,
    seconds: float,
    basis: str,
    stream: bool,
    backend: str,
    tmp_path: Path,
    clock: FakeClock,
) -> None:
    async with assembled(tmp_path, clock) as gateway:
        row = await row_of(gateway, backend, said, stream)
    assert (row.outcome, row.cost_basis) == ("success", basis)
    paid_start_us = row.cold_us if backend == "burst" else 0
    ran_us = round(seconds * SECOND) - row.cold_us
    assert (row.gpu_us, row.cost_nano) == (ran_us, ran_us + paid_start_us)
