"""What a worker tells each of its callers of the others' calls."""

from __future__ import annotations

from local_runtime.protocol.events import Run, Slots
from local_runtime.protocol.wire import FrameReader, decode_from_worker, frame
from tests.local_runtime.worker.bench import Bench, FakeTransport


class Second:
    """Another caller of a bench's calls."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.transport = FakeTransport()
        self.connection = bench.calls.accept()
        self.connection.connection_made(self.transport)

    async def received(self) -> tuple[list[Slots], list[Slots]]:
        """What the first was told of slots and others so far, and what this one was."""
        first = await self.bench.sent()
        mine = [decode_from_worker(data) for data in FrameReader().feed(self.transport.written)]
        return (
            [event for event in first if isinstance(event, Slots)],
            [event for event in mine if isinstance(event, Slots)],
        )


async def test_each_is_told_of_the_others_calls_and_not_of_its_own() -> None:
    bench = Bench()
    second = Second(bench)
    for id in (1, 2, 3):
        bench.say(Run(id, "/", b"1"))
    second.connection.data_received(frame(Run(1, "/", b"1")))
    bench.calls.peers.send_load()
    assert await second.received() == ([Slots(4, others=1)], [Slots(4, others=3)])


async def test_what_has_not_changed_is_not_told_again_and_a_caller_alone_is_told_nothing() -> None:
    bench = Bench()
    bench.say(Run(1, "/", b"1"))
    bench.calls.peers.send_load()
    assert [event for event in await bench.sent() if isinstance(event, Slots)] == []
    second = Second(bench)
    for _ in range(3):
        bench.calls.peers.send_load()
    assert await second.received() == ([], [Slots(4, others=1)])


async def test_calls_that_ended_count_no_more_nor_those_of_a_caller_that_has_gone() -> None:
    bench = Bench()
    second = Second(bench)
    for id in (1, 2):
        bench.say(Run(id, "/", b"1"))
    bench.calls.peers.send_load()
    bench.end(bench.runner.begun[0])
    bench.calls.peers.send_load()
    bench.hang_up()
    bench.calls.peers.send_load()
    _, slots = await second.received()
    assert slots == [Slots(4, others=2), Slots(4, others=1), Slots(4, others=0)]


async def test_a_worker_that_drains_still_tells_of_others() -> None:
    bench = Bench()
    second = Second(bench)
    bench.say(Run(1, "/", b"1"))
    bench.calls.close()
    assert await second.received() == ([Slots(0)], [Slots(0, others=1)])
