"""The client for streams: keeps N of them open at a time and records every gap.

Connections begin spread over the length of one stream; each carries ``--repeat`` streams one
after another. Prints one JSON object.

    python -m benchmarks.gateway.stream_client --url http://127.0.0.1:9000 --streams 512
"""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import sys
from collections.abc import Callable
from typing import cast

import msgspec
import uvloop

from benchmarks.gateway.processes import ROOT
from benchmarks.gateway.stream_server import DELTAS, MARK, PERIOD_MS
from benchmarks.gateway.target import MODEL, Target

LENGTH = DELTAS * PERIOD_MS / 1000
"""Seconds of one stream."""
PATIENCE = 6.0
"""Seconds after the last stream should have ended until nobody waits any longer."""
GAP = 0.5
"""Seconds between two deltas that a reader notices as a stall."""
TAIL = 48
STATUS = len("HTTP/1.1 200 ")
_MARK = MARK.encode()


class Streamed(msgspec.Struct, frozen=True, kw_only=True):
    """How N streams at a time went."""

    streams: int
    """At a time."""
    wanted: int
    complete: int
    """Of the wanted: 64 deltas, ``[DONE]`` and the end of the answer."""
    stalled: int
    """Streams with a gap over half a second beyond their first delta."""
    worst_gap: float
    """Seconds."""
    deltas: int
    refused: int
    """Answers that were no 200, and connections that were not made."""

    @property
    def smooth(self) -> bool:
        return self.complete == self.wanted and self.stalled == 0


class Reader(asyncio.Protocol):
    """One connection and the stream that it carries now."""

    def __init__(
        self,
        request: bytes,
        *,
        repeat: int,
        over: asyncio.Future[None],
        now: Callable[[], float],
    ) -> None:
        self._request = request
        self._left = repeat
        self._over = over
        self._now = now
        self.complete = self.stalled = self.deltas = self.refused = 0
        self.worst = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._ask()

    def _ask(self) -> None:
        self._left -= 1
        self._seen = 0
        self._last = 0.0
        self._gap = 0.0
        self._tail = b""
        self._done = self._begun = False
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        tail = self._tail + data
        if not self._begun and len(tail) >= STATUS:
            self._begun = True
            self._check(tail)
        count = data.count(_MARK)
        if count:
            self._note(count)
        if self._seen >= DELTAS:
            self._done = self._done or b"[DONE]" in tail
            if self._done and tail.endswith(b"0\r\n\r\n"):
                self._finish()
                return
        self._tail = tail[-TAIL:]

    def _check(self, data: bytes) -> None:
        if b" 200 " not in data[:STATUS]:
            self.refused += 1
            self._transport.close()

    def _note(self, count: int) -> None:
        now = self._now()
        if self._seen and now - self._last > self._gap:
            self._gap = now - self._last
        self._last = now
        self._seen += count
        self.deltas += count

    def _finish(self) -> None:
        self.complete += self._seen == DELTAS
        self._judge()
        if self._left:
            self._ask()
        else:
            self._seen = 0
            self._transport.close()

    def _judge(self) -> None:
        self.stalled += self._gap > GAP
        self.worst = max(self.worst, self._gap)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._seen:
            self._judge()
        if not self._over.done():
            self._over.set_result(None)


def ask_in_process(target: Target, streams: int, repeat: int, limit_s: float = 60) -> Streamed:
    """As ``run``, from a process of its own."""
    headers = [word for name, value in target.headers for word in ("--header", f"{name}: {value}")]
    done = subprocess.run(
        [
            *(sys.executable, "-m", "benchmarks.gateway.stream_client", "--url", target.url),
            *("--key", target.key, "--model", target.model, *headers),
            *("--streams", str(streams), "--repeat", str(repeat)),
        ],
        capture_output=True,
        cwd=ROOT,
        timeout=limit_s,
        check=True,
    )
    return msgspec.json.decode(done.stdout, type=Streamed)


async def _one(target: Target, delay: float, repeat: int, readers: list[Reader]) -> None:
    await asyncio.sleep(delay)
    loop = asyncio.get_running_loop()
    request, over = target.request(stream=True), loop.create_future()
    reader = Reader(request, repeat=repeat, over=over, now=loop.time)
    readers.append(reader)
    try:
        await loop.create_connection(lambda: reader, *target.address)
    except OSError:
        reader.refused += 1
        return
    await over


async def run(target: Target, *, streams: int, repeat: int = 1) -> Streamed:
    """Never takes longer than the streams should, and PATIENCE seconds."""
    readers: list[Reader] = []
    tasks = [
        asyncio.create_task(_one(target, LENGTH * number / streams, repeat, readers))
        for number in range(streams)
    ]
    await asyncio.wait(tasks, timeout=LENGTH * (repeat + 1) + PATIENCE)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return Streamed(
        streams=streams,
        wanted=streams * repeat,
        complete=sum(reader.complete for reader in readers),
        stalled=sum(reader.stalled for reader in readers),
        worst_gap=max((reader.worst for reader in readers), default=0.0),
        deltas=sum(reader.deltas for reader in readers),
        refused=sum(reader.refused for reader in readers),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", required=True)
    parser.add_argument("--key", default="bench-key")
    parser.add_argument("--model", default=MODEL)
    parser.add_argument("--header", action="append", default=[], metavar="NAME: VALUE")
    parser.add_argument("--streams", type=int, required=True)
    parser.add_argument("--repeat", type=int, default=1)
    options = parser.parse_args()
    headers = tuple(tuple(header.split(": ", 1)) for header in options.header)
    target = Target(url=options.url, key=options.key, model=options.model, headers=headers)
    result = uvloop.run(run(target, streams=options.streams, repeat=options.repeat))
    print(msgspec.json.encode(result).decode())


if __name__ == "__main__":
    main()
