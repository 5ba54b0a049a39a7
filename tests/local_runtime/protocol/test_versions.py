"""The two ends of a worker's socket may be of different versions of this project."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from local_runtime.client.connection import WorkerConnection
from local_runtime.protocol.events import PROTOCOL, Done, Event, Ready, Run, Slots
from local_runtime.protocol.shared_memory import SHARED_FROM
from local_runtime.protocol.sockets import dial
from local_runtime.protocol.wire import FrameTooLarge, frame
from local_runtime.worker.startup import StartTimes, ready_of
from tests.local_runtime.client.pretended_worker import READY, in_words_of, listening
from tests.programs.echo import app
from tests.waiting import until


class FirstReady(msgspec.Struct, frozen=True, array_like=True, tag=16):
    """As it was before workers said which protocol they speak."""

    slots: int
    routes: tuple[str, ...]
    device: str
    load_s: float
    init_s: float
    warmup_s: float


FIRST = FirstReady(3, ("/",), "cpu", 0.0, 0.0, 0.0)


async def connected_to(
    path: Path, *said: Event | bytes, takes_memory: bool = True
) -> WorkerConnection:
    """What a caller makes of a worker that begins so; the connection is ready, or gone."""
    async with listening(path, *said) as worker:
        connection = WorkerConnection("one", lambda connection: None, 10_000)
        take = connection.take_memory if takes_memory else None
        await dial(str(path), lambda: connection.socket, take_memory=take)
        await until(lambda: connection.ready or connection.gone, "it has spoken")
        connection.socket.close()
        await until(lambda: not worker.connections, "it has hung up")
        return connection


async def test_a_worker_says_which_protocol_it_speaks_and_how_large_its_frames_are() -> None:
    ready = ready_of(app, "cpu", StartTimes(), "none", 5_000)
    assert (ready.protocol, ready.max_frame) == (PROTOCOL, 5_000)


async def test_a_worker_that_offers_no_memory_is_never_told_of_any(tmp_path: Path) -> None:
    """It is of an older version, which would cut off who says what it does not know."""
    path = tmp_path / "s"
    async with listening(path, READY) as worker:
        connection = WorkerConnection("one", lambda connection: None, 10_000)
        await dial(str(path), lambda: connection.socket, take_memory=connection.take_memory)
        await until(lambda: connection.ready, "it has spoken")
        call = connection.run("c1", "/", b"x" * SHARED_FROM, False, float("inf"))
        worker.say(Done(1, True, b"y" * SHARED_FROM))
        await until(lambda: call.answer is not None, "its answer has come")
        (asked,) = worker.heard
        connection.socket.close()
    assert asked == Run(1, "/", b"x" * SHARED_FROM, "c1")


async def test_a_worker_that_says_no_number_speaks_the_first(tmp_path: Path) -> None:
    """Its frames are as large as the caller takes them to be."""
    connection = await connected_to(tmp_path / "s", in_words_of(FIRST))
    assert (connection.ready, connection.facts.max_frame) == (True, 10_000)


def test_an_older_caller_passes_over_what_a_worker_says_beside() -> None:
    older = msgspec.msgpack.Decoder(FirstReady | Slots).decode(frame(READY)[4:])
    assert (older.slots, older.routes) == (READY.slots, READY.routes)


async def test_the_workers_own_limit_is_that_of_its_connection(tmp_path: Path) -> None:
    """Were it sent more it would hang up, and every call with it."""
    path = tmp_path / "s"
    async with listening(path, READY) as worker:
        connection = WorkerConnection("one", lambda connection: None, 100)
        await dial(str(path), lambda: connection.socket)
        await until(lambda: connection.ready, "it has spoken")
        call = connection.run("c1", "/", b"x" * 999_000, False, float("inf"))
        with pytest.raises(FrameTooLarge):
            connection.run("c2", "/", b"x" * 1_000_000, False, float("inf"))
        worker.say(Done(1, True, b"y" * 999_000))
        await until(lambda: call.answer is not None, "its answer, which is as large, has come")
        connection.socket.close()
    assert isinstance(call.answer, Done)


@pytest.mark.parametrize("takes_memory", [True, False])
@pytest.mark.parametrize(
    ("said", "words"),
    [
        (msgspec.structs.replace(READY, protocol=7), "it speaks protocol 7 and this end 1"),
        (Slots(4), "it does not say first what it serves"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "does not speak as this version's workers do: a fr"),
        (b"\0\0\0\2\x93\x63", "does not speak as this version's workers do: "),
        (in_words_of({"slots": 2}), "does not speak as this version's workers do: "),
    ],
    ids=["another version", "no greeting", "http", "half a value", "another shape"],
)
async def test_what_is_no_worker_of_this_version_is_refused_and_says_why(
    tmp_path: Path, said: Ready | Slots | bytes, words: str, takes_memory: bool
) -> None:
    """It gets no call, and what else it says is not read."""
    connection = await connected_to(tmp_path / "s", said, Slots(9), takes_memory=takes_memory)
    assert connection.gone
    assert not connection.ready
    assert (connection.slots, connection.facts.routes) == (0, frozenset())
    assert words in connection.ended.result()
