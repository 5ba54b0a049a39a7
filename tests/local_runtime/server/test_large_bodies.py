"""Bodies and answers of every size and kind, between a worker and callers that share memory with it
or do not; and what is left of that memory when either of them dies."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from local_runtime.client.connection import WorkerConnection
from local_runtime.client.pending_call import CANCELLED, PendingCall, Unanswered
from local_runtime.protocol.events import CONTENT_TYPE, Done, Run, SharedRun
from local_runtime.protocol.shared_memory import (
    NO_MEMORY,
    RING,
    SHARED_FROM,
    NoMemory,
    RingPlace,
)
from local_runtime.protocol.sockets import dial
from local_runtime.protocol.wire import MAX_FRAME
from tests.live import ROOT
from tests.local_runtime.server.live_runtime import LiveRuntime
from tests.waiting import until

BINARY = ((CONTENT_TYPE, "application/octet-stream"),)
SIZES = (0, 1, SHARED_FROM - 1, SHARED_FROM, SHARED_FROM + 1, 1 << 20, 5_000_001)
FOREVER = float("inf")


@pytest.fixture(scope="module")
def sockets(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("large") / "sockets"
    with LiveRuntime("large.py:app", "--sockets", str(folder)):
        yield folder


async def connected(folder: Path, *, shares: bool = True) -> WorkerConnection:
    link = WorkerConnection("large", lambda link: None, MAX_FRAME)
    take = link.take_memory if shares else None
    await dial(str(folder / "worker-0.sock"), lambda: link.socket, take_memory=take)
    await until(lambda: bool(link.slots), "the worker has said what it serves")
    assert (link.socket.memory is not NO_MEMORY) == shares
    return link


async def closed(link: WorkerConnection) -> None:
    link.socket.close()
    await link.ended


def ask(link: WorkerConnection, route: str, body: bytes, *, stream: bool = False) -> PendingCall:
    headers = () if route == "/json" else BINARY
    return link.run("c1", route, body, stream, FOREVER, headers=headers)


async def answer(call: PendingCall) -> bytes:
    """What it is answered with, its outputs and its end together."""
    given = b""
    while call.answer is None or call.outputs:
        await call.wait()
        while call.outputs:
            given += call.take().data
    assert isinstance(call.answer, Done), call.answer
    assert call.answer.ok, call.answer.message
    return given + call.answer.data


def data_of(size: int) -> bytes:
    return random.Random(size).randbytes(size)


class CountedMemory(NoMemory):
    """The memory of a connection, which counts how often it had room for something, and how often
    not."""

    def __init__(self, link: WorkerConnection) -> None:
        self.found = self.missed = 0
        self._memory, link.socket.memory = link.socket.memory, self

    def put(self, data: bytes) -> RingPlace | None:
        place = self._memory.put(data)
        self.found += place is not None
        self.missed += place is None
        return place

    def take(self, start: int, size: int, end: int) -> bytes:
        return self._memory.take(start, size, end)

    def close(self) -> None:
        self._memory.close()


# --- sizes and kinds ------------------------------------------------------------------------------


@pytest.mark.parametrize("shares", [True, False], ids=["memory", "socket"])
@pytest.mark.parametrize("route", ["/bytes", "/batch", "/array", "/pieces"])
async def test_what_was_sent_comes_back_whatever_its_size(
    sockets: Path, route: str, shares: bool
) -> None:
    link = await connected(sockets, shares=shares)
    for size in SIZES:
        assert await answer(ask(link, route, data_of(size))) == data_of(size), size
    await closed(link)


@pytest.mark.parametrize("shares", [True, False], ids=["memory", "socket"])
async def test_json_and_the_items_of_streams_come_back_too(sockets: Path, shares: bool) -> None:
    link = await connected(sockets, shares=shares)
    for size in SIZES:
        value = data_of(size).hex()
        assert json.loads(await answer(ask(link, "/json", json.dumps(value).encode()))) == value
        items = await answer(ask(link, "/items", data_of(size), stream=True))
        assert bytes.fromhex(items.replace(b'"', b"").decode()) == data_of(size)
    await closed(link)


async def test_small_bodies_use_no_memory_and_large_ones_do(
    sockets: Path,
) -> None:
    link = await connected(sockets)
    places = CountedMemory(link)
    await answer(ask(link, "/bytes", data_of(SHARED_FROM - 1)))
    assert (places.found, places.missed) == (0, 0)
    await answer(ask(link, "/bytes", data_of(SHARED_FROM)))
    assert (places.found, places.missed) == (1, 0)
    await closed(link)


async def test_what_finds_no_room_goes_through_the_socket(
    sockets: Path,
) -> None:
    """Of six calls that a worker does not read on with, two fit; each comes back as it was sent."""
    link, worker = await connected(sockets), worker_of(sockets)
    places = CountedMemory(link)
    sizes = [RING // 3 + number for number in range(6)]
    os.kill(worker, signal.SIGSTOP)
    calls = [ask(link, "/bytes", data_of(size)) for size in sizes]
    os.kill(worker, signal.SIGCONT)
    assert (places.found, places.missed) == (2, 4)
    for size, call in zip(sizes, calls, strict=True):
        assert await answer(call) == data_of(size)
    assert await answer(ask(link, "/bytes", data_of(RING))) == data_of(RING)
    assert places.found == 3, "it is free again"
    assert await answer(ask(link, "/bytes", data_of(RING + 1))) == data_of(RING + 1)
    await closed(link)


async def test_many_calls_at_a_time_of_all_sizes_are_not_mixed_up(sockets: Path) -> None:
    links = [await connected(sockets) for _ in range(3)]
    sizes = [random.Random(seed).randrange(3 * SHARED_FROM) for seed in range(120)]
    calls = [(size, ask(links[size % 3], "/bytes", data_of(size))) for size in sizes]
    for size, call in calls:
        assert await answer(call) == data_of(size)
    for link in links:
        await closed(link)


async def test_a_call_that_is_cancelled_leaves_its_memory_free(sockets: Path) -> None:
    """Its body was copied out when it came, and nobody reads there later."""
    link = await connected(sockets)
    for _ in range(8):
        call = ask(link, "/hold", data_of(RING // 2))
        call.give_up(CANCELLED, 0.0)
    assert await answer(ask(link, "/bytes", data_of(RING))) == data_of(RING)
    await closed(link)


async def test_by_http_they_come_back_as_well(sockets: Path) -> None:
    with LiveRuntime("large.py:app") as live, live.client as client:
        for size in SIZES:
            reply = client.post("/bytes", content=data_of(size), headers=dict(BINARY))
            assert reply.content == data_of(size), size


# --- ends that break off --------------------------------------------------------------------------


async def test_a_caller_that_speaks_of_places_that_are_none_is_cut_off(sockets: Path) -> None:
    """And the worker serves the others."""
    link = await connected(sockets)
    link.send(SharedRun(Run(1, "/bytes", b""), RING, 1, 1))
    assert "ended" in await link.ended
    other = await connected(sockets)
    assert await answer(ask(other, "/bytes", b"x")) == b"x"
    await closed(other)


async def test_connections_that_come_and_go_leave_no_descriptor_and_no_memory(
    sockets: Path,
) -> None:
    """At either end."""
    before = None
    for _ in range(6):
        link = await connected(sockets)
        await answer(ask(link, "/bytes", data_of(1 << 20)))
        await closed(link)
        now = len(os.listdir("/proc/self/fd")), mapped(os.getpid())
        assert before in (None, now)
        before = now
    assert before is not None
    assert before[1] == 0


def mapped(pid: int) -> int:
    """How many mappings of shared memory a process has."""
    return Path(f"/proc/{pid}/maps").read_text().count("memfd:spillgate")


@pytest.mark.parametrize("answered", [0, 1, 4])
async def test_a_worker_that_is_killed_in_the_middle_ends_its_calls_and_the_next_serves(
    tmp_path: Path, answered: int
) -> None:
    """After so many of eight answers: those that came are whole, the others say that it died."""
    folder = tmp_path / "sockets"
    with LiveRuntime("large.py:app", "--sockets", str(folder)) as live:
        link = await connected(folder)
        body = data_of(RING // 5)
        calls = [ask(link, "/bytes", body) for _ in range(8)]
        for call in calls[:answered]:
            await answer(call)
        (worker,) = live.workers()
        os.kill(worker, signal.SIGKILL)
        await link.ended
        for call in calls:
            if isinstance(call.answer, Done):
                assert call.answer.data == body
            else:
                assert isinstance(call.answer, Unanswered)
                assert call.answer.kind == "died"
        assert link.socket.memory is NO_MEMORY
        assert mapped(os.getpid()) == 0
        await until(lambda: live.answers("/readyz") and live.workers() not in ([], [worker]))
        again = await connected(folder)
        assert await answer(ask(again, "/bytes", body)) == body
        await closed(again)


KILLED = """
import asyncio, os, signal, sys
from local_runtime.client.connection import WorkerConnection
from local_runtime.protocol.sockets import dial
from local_runtime.protocol.wire import MAX_FRAME

async def main(path, when):
    link = WorkerConnection("killed", lambda link: None, MAX_FRAME)
    await dial(path, lambda: link.socket, take_memory=link.take_memory)
    if when == "dialled":
        os.kill(os.getpid(), signal.SIGKILL)
    while not link.slots:
        await asyncio.sleep(0.01)
    if when == "put":
        assert link.socket.memory.put(bytes(20_000_000))
        os.kill(os.getpid(), signal.SIGKILL)
    call = link.run("c1", "/bytes", bytes(20_000_000), False, float("inf"),
                    headers=(("content-type", "application/octet-stream"),))
    if when == "sent":
        await asyncio.sleep(0)
        os.kill(os.getpid(), signal.SIGKILL)
    await call.wait()
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.mark.parametrize("when", ["dialled", "put", "sent", "answered"])
async def test_a_caller_that_is_killed_leaves_nothing_at_its_worker(
    sockets: Path, when: str
) -> None:
    """Whose process, and whose other calls, go on."""
    named = os.listdir("/dev/shm")
    link, worker = await connected(sockets), worker_of(sockets)
    await until(lambda: mapped(worker) == 2, "it has this caller, and its server")
    command = [sys.executable, "-c", KILLED, str(sockets / "worker-0.sock"), when]
    killed = await asyncio.to_thread(subprocess.run, command, cwd=ROOT, timeout=60)
    assert killed.returncode == -signal.SIGKILL
    await until(lambda: mapped(worker) == 2, "the worker has let go of its memory")
    assert await answer(ask(link, "/bytes", data_of(RING))) == data_of(RING)
    await closed(link)
    assert os.listdir("/dev/shm") == named


def worker_of(folder: Path) -> int:
    """Who listens there, by the peer's credentials (man 7 unix)."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as caller:
        caller.connect(str(folder / "worker-0.sock"))
        said = caller.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    pid: int = struct.unpack("3i", said)[0]
    return pid
