"""A slow server and a quick one, over real sockets: the quick one answers, and of the other
nothing is left."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from gateway.clock import FakeClock
from tests.e2e.failures.test_faults import POLICY, Scene
from tests.e2e.servers.faulty import FaultyServer
from tests.gateway.assembled import with_own_kinds
from tests.programs.faults.speech import STREAM_HEAD, Asked
from tests.waiting import until

HEDGED = (
    POLICY.replace("timeout: 2s", "timeout: 60s")
    .replace("stall_timeout: 1s", "")
    .replace("order: listed}", "order: listed, hedge: {{after: 500ms, share: 100}}}")
)


class SaysNothing:
    """Until its clients have gone; of a stream there is the head."""

    def __init__(self) -> None:
        self._asked_on = list[asyncio.StreamWriter]()

    async def __call__(self, asked: Asked, writer: asyncio.StreamWriter) -> None:
        self._asked_on.append(writer)
        if asked.stream:
            writer.write(STREAM_HEAD)

    @property
    def is_left(self) -> bool:
        """Whoever asked has closed the connection; one that only a probe uses may be kept."""
        return all(writer.is_closing() for writer in self._asked_on)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_the_quick_servers_answer_is_taken_and_the_slow_ones_connection_closed(
    stream: bool, tmp_path: Path, clock: FakeClock
) -> None:
    silence = SaysNothing()
    async with FaultyServer(silence) as slow, FaultyServer() as quick:
        text = HEDGED.format(faulty=slow.url, well=quick.url, price="tokens")
        async with with_own_kinds(tmp_path, clock, text) as gateway:
            told = await Scene(gateway, slow).call("both", stream=stream)
            assert (told.answered, told.backend) == (True, "well")
            rows = await gateway.rows("req_1")
            assert [(row.backend, row.error) for row in rows] == [
                ("well", ""),
                ("faulty", "hedged"),
            ]
            assert told.charged == sum(row.cost_nano for row in rows)
            assert rows[0].reason == "HEDGE"
            assert slow.calls == 1
            await until(lambda: silence.is_left, "the slow server's connection is closed")
            backends = gateway.inner.active.backends.values()
            assert [backend.in_flight for backend in backends] == [0, 0]
