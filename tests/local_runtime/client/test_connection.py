"""The caller's end of a worker's socket, over a transport that keeps what is written."""

from __future__ import annotations

import asyncio
import math

from gateway.clock import settle
from local_runtime.client.connection import WorkerConnection
from local_runtime.client.pending_call import CANCELLED, Unanswered
from local_runtime.protocol.events import (
    CacheStatus,
    Cancel,
    Done,
    Event,
    Memory,
    ModelStatus,
    Ping,
    Ready,
    Run,
    Slots,
    ToWorker,
)
from local_runtime.protocol.wire import FrameReader, decode_to_worker, frame
from tests.local_runtime.worker.bench import FakeTransport

READY = Ready(2, ("/", "/later"), "cpu", 1.0, 2.0, 3.0, background=("/later",), max_frame=500)


class Scene:
    """A connection whose worker a test plays."""

    def __init__(self) -> None:
        self.changes = 0
        self.connection = WorkerConnection("w-0", self._changed, 1000, now=lambda: 7.0)
        self.transport = FakeTransport()
        self.connection.socket.connection_made(self.transport)

    def say(self, *events: Event) -> None:
        for event in events:
            self.connection.socket.data_received(frame(event))

    async def sent(self) -> list[ToWorker]:
        await settle()
        return [decode_to_worker(data) for data in FrameReader().feed(self.transport.written)]

    def _changed(self, connection: WorkerConnection) -> None:
        self.changes += 1


async def test_what_a_worker_says_of_itself_replaces_what_was_known_before() -> None:
    """Whoever has the former facts keeps them as they were."""
    scene = Scene()
    assert not scene.connection.ready
    scene.say(READY)
    before = scene.connection.facts
    scene.say(Memory(resident=5), CacheStatus((ModelStatus("a", "in", 4),), 8))
    after = scene.connection.facts
    assert scene.connection.ready
    assert (before.memory, before.cache) == (None, None)
    assert (after.memory, after.routes) == (Memory(resident=5), before.routes)
    assert (after.plain, after.start_s, after.max_frame) == ({b"/": "/"}, 6.0, 500)
    assert scene.connection.residency is not None


async def test_slots_are_those_of_the_last_word_and_none_once_the_worker_is_to_go() -> None:
    scene = Scene()
    scene.say(READY, Slots(1, others=3))
    assert (scene.connection.slots, scene.connection.others, scene.changes) == (1, 3, 2)
    scene.connection.dismiss()
    scene.say(Slots(2))
    assert (scene.connection.slots, scene.connection.others) == (0, 0)


async def test_an_answer_ends_its_call_and_no_other() -> None:
    scene = Scene()
    scene.say(READY)
    first = scene.connection.run("a", "/", b"1", False, 9.0)
    second = scene.connection.run("b", "/", b"2", False, 9.0)
    waiting = asyncio.create_task(second.wait())
    await settle()
    scene.say(Done(2, True, b"4", exec_s=0.5))
    await waiting
    assert (first.answer, second.answer) == (None, Done(2, True, b"4", exec_s=0.5))
    assert list(scene.connection.calls) == [1]
    assert scene.connection.first_s == 0.5
    runs = [Run(1, "/", b"1", "a", within=2.25), Run(2, "/", b"2", "b", within=2.25)]
    assert await scene.sent() == runs, "the worker's bound is a little later than the caller's"


async def test_a_call_without_a_deadline_is_bounded_by_its_handler_alone() -> None:
    scene = Scene()
    scene.say(READY)
    scene.connection.run("a", "/", b"1", False, math.inf)
    assert await scene.sent() == [Run(1, "/", b"1", "a")]


async def test_a_call_that_was_left_waits_for_what_it_used() -> None:
    """The worker is told once that nobody waits, and answers all the same."""
    scene = Scene()
    scene.say(READY)
    call = scene.connection.run("a", "/", b"1", False, 9.0)
    call.give_up(CANCELLED, keep_until=8.0)
    call.leave(keep_until=8.0)
    late = asyncio.create_task(call.wait_late())
    await settle()
    scene.say(Done(1, False, kind="cancelled", gpu_s=3.0))
    assert await late == Done(1, False, kind="cancelled", gpu_s=3.0)
    assert call.answer is CANCELLED
    assert [event for event in await scene.sent() if isinstance(event, Cancel)] == [Cancel(1)]


async def test_a_worker_that_says_nothing_of_a_call_that_was_left_is_not_waited_for() -> None:
    scene = Scene()
    scene.say(READY)
    call = scene.connection.run("a", "/", b"1", False, 9.0)
    call.leave(keep_until=8.0)
    late = asyncio.create_task(call.wait_late())
    await settle()
    scene.connection.sweep(8.0, keep_s=1.0)
    assert await late is None
    assert scene.connection.calls == {}


async def test_a_call_past_its_deadline_fails_and_is_kept_a_little_for_its_usage() -> None:
    scene = Scene()
    scene.say(READY)
    call = scene.connection.run("a", "/", b"1", False, 9.0)
    scene.connection.sweep(9.0, keep_s=1.0)
    assert isinstance(call.answer, Unanswered)
    assert (call.answer.kind, call.deadline) == ("timeout", 10.0)
    assert scene.connection.calls == {1: call}


async def test_a_connection_that_ends_fails_its_calls_and_says_why() -> None:
    scene = Scene()
    scene.say(READY)
    call = scene.connection.run("a", "/", b"1", False, 9.0)
    scene.connection.socket.connection_lost(ConnectionResetError("reset"))
    assert isinstance(call.answer, Unanswered)
    assert (call.answer.kind, call.answer.detail, call.lost) == ("died", "w-0: reset", True)
    assert (scene.connection.gone, scene.connection.slots) == (True, 0)
    assert await scene.connection.ended == "reset"


async def test_a_call_that_comes_after_the_end_of_its_worker_is_lost_at_once() -> None:
    """Whoever still has the connection in hand does not wait for an answer that cannot come."""
    scene = Scene()
    scene.say(READY)
    scene.connection.socket.connection_lost(None)
    calls = (
        scene.connection.run("a", "/", b"1", False, 9.0),
        scene.connection.ask(Ping(0, "/"), 9.0),
    )
    for call in calls:
        await call.wait()
        assert call.lost
    assert scene.connection.calls == {}
