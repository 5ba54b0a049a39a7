"""Descriptors that come along with the first bytes of a worker's socket."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from local_runtime.protocol.sockets import dial
from tests.waiting import until


class Heard(asyncio.Protocol):
    """Keeps what comes, and that it ended."""

    def __init__(self) -> None:
        self.data = b""
        self.ended = asyncio.get_running_loop().create_future()

    def data_received(self, data: bytes) -> None:
        self.data += data

    def connection_lost(self, error: Exception | None) -> None:
        self.ended.set_result(None)


async def heard_of(tmp_path: Path, say: Callable[[socket.socket], object]) -> tuple[bytes, int]:
    """What a caller that takes descriptors hears of who says something and hangs up, and how many
    descriptors it got; all of which are closed again."""
    path, heard = str(tmp_path / "s"), Heard()
    taken: list[int] = []
    before = len(os.listdir("/proc/self/fd"))
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        dialled = asyncio.create_task(dial(path, lambda: heard, take_memory=taken.append))
        caller, _ = await asyncio.to_thread(listener.accept)
        with caller:
            await asyncio.gather(asyncio.to_thread(say, caller), dialled)
        await heard.ended
    await until(lambda: len(os.listdir("/proc/self/fd")) == before, "all is closed")
    return heard.data, len(taken)


@pytest.mark.parametrize(
    ("said", "along"),
    [(b"", 0), (b"ab", 0), (b"abcdefgh" * 50_000, 0), (b"abcd", 1), (b"abcdefgh", 1), (b"ab", 2)],
)
async def test_whatever_is_said_first_is_heard_whole_with_a_descriptor_or_without(
    tmp_path: Path, said: bytes, along: int
) -> None:
    """Of several that come at once, one is taken."""

    def say(caller: socket.socket) -> None:
        with open(os.devnull) as null:
            descriptors = [null.fileno()] * along
            if said:
                sent = socket.send_fds(caller, [said[:4]], descriptors) if along else 0
                caller.sendall(said[sent:])

    assert await heard_of(tmp_path, say) == (said, min(along, 1))


async def test_a_worker_that_says_nothing_for_long_is_listened_to_all_the_same(
    tmp_path: Path,
) -> None:
    path, heard = str(tmp_path / "s"), Heard()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        await dial(path, lambda: heard, take_memory=os.close, within_s=0.0)
        caller, _ = listener.accept()
        with caller:
            caller.sendall(b"at last")
        await heard.ended
    assert heard.data == b"at last"
