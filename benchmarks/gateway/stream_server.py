"""The upstream for streams: paces 64 deltas, 20 ms apart, for any number of callers.

One timer serves every stream: a ring of 20 slots, one a millisecond; a stream stays in the slot
in which it began, and each turn of the ring sends its next event. So a thousand streams cost a
thousand writes a turn and no timer of their own.

    python -m benchmarks.gateway.stream_server --port 9000
"""

from __future__ import annotations

import argparse
import asyncio
import json
from typing import cast

import uvloop

from benchmarks.gateway.processes import HOST
from benchmarks.gateway.target import MODEL, completion

DELTAS = 64
PERIOD_MS = 20
MARK = "~"
"""Stands once in each delta's text and nowhere else, so that deltas are counted without parsing,
however a gateway cuts or re-writes the events."""
HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n"
)
LAST = b"0\r\n\r\n"


def _event(data: str) -> bytes:
    payload = f"data: {data}\n\n".encode()
    return b"%x\r\n%b\r\n" % (len(payload), payload)


def _chunk(choices: list[object], **extra: object) -> bytes:
    common = {"id": "chatcmpl-bench", "object": "chat.completion.chunk", "created": 1767225600}
    return _event(json.dumps({**common, "model": MODEL, "choices": choices, **extra}))


def _choice(delta: dict[str, str], finish: str | None = None) -> list[object]:
    return [{"index": 0, "delta": delta, "finish_reason": finish}]


def _whole(payload: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (
        len(payload),
        payload,
    )


HEALTH = _whole(b"{}")
COMPLETION = _whole(completion())
USAGE = {"prompt_tokens": 28, "completion_tokens": DELTAS, "total_tokens": 28 + DELTAS}
OPENING = HEAD + _chunk(_choice({"role": "assistant", "content": ""}))
BEATS = [_chunk(_choice({"content": f" word{number}{MARK}"})) for number in range(DELTAS)]
ENDING = _chunk(_choice({}, "stop"))
USAGE_EVENT = _chunk([], usage=USAGE)
DONE = _event("[DONE]") + LAST


class Wheel:
    """The ring. ``add`` puts a stream into the slot of now; ``run`` turns for ever."""

    def __init__(self) -> None:
        self._slots: list[list[Caller]] = [[] for _ in range(PERIOD_MS)]
        self._turn = 0

    def add(self, caller: Caller) -> None:
        self._slots[(self._turn - 1) % PERIOD_MS].append(caller)

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        begun = loop.time()
        while True:
            due = int((loop.time() - begun) * 1000)
            while self._turn <= due:
                self._beat(self._turn % PERIOD_MS)
                self._turn += 1
            await asyncio.sleep(0.001)

    def _beat(self, slot: int) -> None:
        if self._slots[slot]:
            self._slots[slot] = [caller for caller in self._slots[slot] if caller.beat()]


class Caller(asyncio.Protocol):
    """One connection: reads requests, answers each with a paced stream."""

    def __init__(self, wheel: Wheel) -> None:
        self._wheel = wheel
        self._received = b""
        self._sent = 0
        self._ending = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, found, body = self._received.partition(b"\r\n\r\n")
        if not found or len(body) < _content_length(head):
            return
        self._received = b""
        asked = body.replace(b" ", b"")
        if not head.startswith(b"POST /v1/"):
            self._transport.write(HEALTH)
        elif b'"stream":true' not in asked:
            self._transport.write(COMPLETION)
        else:
            self._begin(usage=b'"include_usage":true' in asked)

    def _begin(self, *, usage: bool) -> None:
        self._sent = 0
        self._ending = ENDING + (USAGE_EVENT if usage else b"") + DONE
        self._transport.write(OPENING)
        self._wheel.add(self)

    def beat(self) -> bool:
        """Sends the next event; False when the stream is over."""
        if self._transport.is_closing():
            return False
        self._transport.write(BEATS[self._sent])
        self._sent += 1
        if self._sent < DELTAS:
            return True
        self._transport.write(self._ending)
        return False


def _content_length(head: bytes) -> int:
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line.split(b":")[1])
    return 0


async def serve(port: int) -> None:
    """Listens on the loopback until cancelled."""
    wheel = Wheel()
    server = await asyncio.get_running_loop().create_server(
        lambda: Caller(wheel), HOST, port, backlog=2048
    )
    async with server:
        await wheel.run()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    uvloop.run(serve(parser.parse_args().port))


if __name__ == "__main__":
    main()
