"""A stream that has ended, or was left, and its connection hold nothing of themselves.

What only the collector can free stays until it comes, some hundred streams later: memory that
nobody uses, and a pause for all when it is looked through.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
import pytest

from gateway.calls.stream import SettledStream
from gateway.clock import FakeClock
from tests.e2e.failures.test_faults import STEP_S, scene
from tests.gateway.api.test_slow_calls import without_the_collector
from tests.gateway.assembled import AssembledGateway

ASKED = {"model": "alone", "messages": [{"role": "user", "content": "hi"}], "stream": True}
OWN = ("adapters.", "gateway.")


@pytest.mark.parametrize("pushed", [True, False], ids=["pushed", "read"])
@pytest.mark.parametrize("ends", ["whole", "abandoned"])
async def test_a_stream_leaves_nothing_to_the_collector(
    ends: str, pushed: bool, tmp_path: Path, clock: FakeClock
) -> None:
    async with scene(tmp_path, clock, "cut") as stage:
        await stage.faulty.mend()
        with without_the_collector() as left:
            stream = await _begun(stage.gateway)
            if pushed:
                stream.push_to(lambda piece: True)
            async with stream:
                if ends != "abandoned":
                    _ = [piece async for piece in stream]
            del stream
            await stage.gateway.inner.active.backends["faulty"].adapter.aclose()
            for _ in range(20):
                await asyncio.sleep(0.001)
        assert [name for one in left if (name := _name(one)).startswith(OWN)] == []


async def _begun(gateway: AssembledGateway) -> SettledStream:
    """The call's task gives nothing, as a request's: it would hold the stream that holds it."""
    begun: list[SettledStream] = []

    async def ask() -> None:
        state = gateway.call_state("alone", stream=True, body=msgspec.json.encode(ASKED))
        answer = await gateway.ask(state)
        assert isinstance(answer, SettledStream)
        begun.append(answer)

    await gateway.until_done([asyncio.ensure_future(ask())], step=STEP_S)
    return begun.pop()


def _name(one: object) -> str:
    return f"{type(one).__module__}.{type(one).__qualname__}"
