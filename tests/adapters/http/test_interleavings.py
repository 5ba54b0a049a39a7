"""The pool under callers that come, are answered, leave and are cut off in any order: every call
ends, and none with another's answer."""

from __future__ import annotations

import asyncio
from typing import Literal

from hypothesis import example, given, settings
from hypothesis import strategies as st

from adapters.errors import BackendError
from adapters.http.client import Client, Origin, render_head
from adapters.http.connection import HttpConnection
from gateway.clock import FakeClock, settle
from tests.adapters.servers import answer, chunked

Step = Literal[
    "ask", "stream", "submit", "answer", "half", "cut", "babble", "leave", "turn", "time"
]
STEPS: tuple[Step, ...] = (
    "ask", "stream", "submit", "answer", "half", "cut", "babble", "leave", "turn", "time",
)  # fmt: skip
ORIGIN = Origin("http://server")
HEAD = render_head("POST", ORIGIN, "/x")
DEADLINE_S = 1.0
ECHO = b"data: %s\n\n"


class Wire(asyncio.Transport):
    """The server's end of one connection: it answers what was asked last, when it is told to."""

    def __init__(self, loop: asyncio.AbstractEventLoop, connection: HttpConnection) -> None:
        super().__init__()
        self._loop = loop
        self._connection = connection
        self._asked: bytes | None = None
        self._rest = b""
        self.open = True

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert self._asked is None, "a second request before the first one was answered"
        self._asked = bytes(data).partition(b"\r\n\r\n")[2]

    def get_write_buffer_size(self) -> int:
        return 0

    def abort(self) -> None:
        if self.open:
            self.open = False
            self._loop.call_soon(self._connection.connection_lost, None)

    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...

    def say(self, share: float) -> None:
        """A share of what is still to be said of the answer."""
        if not self.open or (self._asked is None and not self._rest):
            return
        if self._asked is not None and not self._rest:
            body = ECHO % self._asked
            long = self._asked.startswith(b"stream")
            self._rest = chunked(body[:3], body[3:]) if long else answer(body)
        cut = max(1, int(len(self._rest) * share))
        said, self._rest = self._rest[:cut], self._rest[cut:]
        if not self._rest:
            self._asked = None
        self._connection.data_received(said)

    def babble(self) -> None:
        """An answer that nobody asked for."""
        if self.open and self._asked is None:
            self._connection.data_received(answer(b"another's"))


class WiredClient(Client):
    """Its connections are wires, made in the loop's next turn."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(ORIGIN, clock, max_connections=2, keep_alive=0.5)
        self.wires: list[Wire] = []

    async def _reach(self, connection: HttpConnection) -> None:
        await asyncio.sleep(0)
        wire = Wire(self._loop, connection)
        self.wires.append(wire)
        connection.connection_made(wire)


class Play:
    """Callers, and what each of them was answered."""

    def __init__(self) -> None:
        self._clock = FakeClock()
        self._client = WiredClient(self._clock)
        self._calls: dict[bytes, asyncio.Task[bytes]] = {}

    async def run(self, steps: list[tuple[Step, int]]) -> None:
        self._client.start()
        for step, which in steps:
            await self._take(step, which)
        await settle()
        await self._clock.advance(DEADLINE_S + 1.0)
        for name, call in self._calls.items():
            assert call.done(), f"{name!r} waits for ever"
            assert call.cancelled() or call.exception() or call.result() == ECHO % name
            assert call.cancelled() or isinstance(call.exception(), BackendError | None)
        await self._clock.advance(1.0)
        assert "0 active, 0 idle, 0 waiting" in repr(self._client)
        await self._client.aclose()

    async def _take(self, step: Step, which: int) -> None:
        match step:
            case "ask" | "stream" | "submit":
                self._call(step)
            case "leave" if self._calls:
                list(self._calls.values())[which % len(self._calls)].cancel()
            case "turn":
                await asyncio.sleep(0)
            case "time":
                await settle()
                await self._clock.advance(0.1)
            case "answer" | "half" | "cut" | "babble" if self._client.wires:
                self._say(step, self._client.wires[which % len(self._client.wires)])

    def _call(self, step: Step) -> None:
        name = f"{step} {len(self._calls)}".encode()
        asked = {"ask": self._ask, "stream": self._stream, "submit": self._submit}[step]
        self._calls[name] = asyncio.ensure_future(asked(name))

    @staticmethod
    def _say(step: Step, wire: Wire) -> None:
        match step:
            case "answer":
                wire.say(1.0)
            case "half":
                wire.say(0.5)
            case "cut":
                wire.abort()
            case "babble":
                wire.babble()

    def _deadline(self) -> float:
        return self._clock.monotonic() + DEADLINE_S

    async def _ask(self, name: bytes) -> bytes:
        return (await self._client.request(HEAD, name, deadline=self._deadline())).body

    async def _stream(self, name: bytes) -> bytes:
        """Closes, leaves or distrusts what it has read, by turns."""
        body = await self._client.stream(HEAD, name, deadline=self._deadline())
        data = b""
        try:
            while len(data) < len(ECHO % name):
                piece = await body.read()
                if not piece:
                    break
                data += piece
            end = len(self._calls) % 3
            if end == 1:
                body.leave(self._clock.monotonic() + 0.2)
            elif end == 2:
                body.distrust()
            return data
        except BaseException:
            body.close()
            raise
        finally:
            if len(self._calls) % 3 == 0:
                body.close()

    async def _submit(self, name: bytes) -> bytes:
        answered = await self._client.submit(HEAD, name, deadline=self._deadline())
        return (await asyncio.shield(answered)).body


STEP = st.tuples(st.sampled_from(STEPS), st.integers(0, 7))


@given(st.lists(STEP, max_size=60))
@example([("ask", 0), ("turn", 0), ("turn", 0), ("turn", 0), ("turn", 0), ("answer", 0),
          ("leave", 0), ("ask", 0), ("turn", 0)])  # fmt: skip
@settings(max_examples=300, deadline=None)
def test_every_call_ends_and_with_its_own_answer(steps: list[tuple[Step, int]]) -> None:
    asyncio.run(Play().run(steps))


async def _taken_over() -> tuple[bytes, bytes]:
    """Two callers of one connection, of whom the first leaves in the turn of his answer."""
    client = WiredClient(FakeClock())
    client.start()
    first = asyncio.ensure_future(client.request(HEAD, b"1"))
    await settle()
    first.cancel()
    client.wires[0].say(1.0)
    second = asyncio.ensure_future(client.request(HEAD, b"2"))
    await settle()
    client.wires[0].say(1.0)
    client.wires[-1].say(1.0)
    answered = (await second).body
    await client.aclose()
    return answered, b"kept" if len(client.wires) == 1 else b"replaced"


def test_a_caller_who_leaves_as_he_is_answered_closes_nobody_elses_connection() -> None:
    assert asyncio.run(_taken_over()) == (ECHO % b"2", b"kept")
