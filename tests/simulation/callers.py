"""Who calls: each asks once, takes what comes, or hangs up."""

from __future__ import annotations

import asyncio
import random
from collections.abc import MutableMapping
from typing import Any, Literal

import msgspec

from gateway.api.requests.request import ParsedRequest, RequestContext
from gateway.types import Principal
from tests.simulation.gateways import GatewayProcess
from tests.simulation.policies import PEOPLE

MODELS = ("chat", "chat", "any", "any", "far", "near")

Seen = Literal["nothing", "refused", "promised", "whole", "cut"]


class Connection:
    """What one client sees of its call."""

    def __init__(self, takes_s: float) -> None:
        """``takes_s``: seconds that it lets each piece wait."""
        self.status = 0
        self.body = b""
        self.is_whole = False
        """The server said that this was all."""
        self.closed = asyncio.Event()
        """By the server, or by its death."""
        self.hung_up = asyncio.Event()
        self._takes_s = takes_s

    async def receive(self) -> MutableMapping[str, Any]:
        await self.hung_up.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: MutableMapping[str, Any]) -> None:
        if self.hung_up.is_set():
            return
        self._hear(message)
        await asyncio.sleep(self._takes_s)

    def _hear(self, message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
        else:
            self.body += message["body"]
            self.is_whole = not message.get("more_body", False)

    def close(self) -> None:
        """Nothing more will come."""
        self.closed.set()

    def seen(self, *, stream: bool) -> Seen:
        """What the client may rely on."""
        if not self.is_whole:
            return "nothing" if not self.status else "cut"
        if self.status == 202:
            return "promised"
        if self.status != 200:
            return "refused"
        begun_as_stream = self.body.startswith((b"data:", b":"))  # an event, or a comment
        return "whole" if not (stream and begun_as_stream) or b"[DONE]" in self.body else "cut"


class Asked(msgspec.Struct, frozen=True):
    """One call of one caller, as drawn."""

    id: str
    at_s: float
    """Seconds after the beginning."""
    principal: Principal
    model: str
    stream: bool
    max_tokens: int | None
    patience_s: float
    takes_s: float


def asked(number: int, lasts_s: float, draw: random.Random) -> Asked:
    """The call of a number, some time within ``lasts_s``."""
    model = draw.choice(MODELS)
    return Asked(
        id=f"req_{number:04}",
        at_s=draw.random() * lasts_s,
        principal=draw.choice(PEOPLE),
        model=model,
        stream=draw.random() < 0.5,
        max_tokens=draw.choice((None, 5, 20)) if model == "chat" else 20,
        patience_s=draw.random() * 6.0 if draw.random() < 0.25 else float("inf"),
        takes_s=draw.choice((0.0, 0.0, 0.0, 0.05, 1.0)),
    )


class Caller:
    """Asks a gateway; ``ended_at`` is None while it waits."""

    def __init__(self, call: Asked, connection: Connection, began_at: float) -> None:
        self.call = call
        self.connection = connection
        self.began_at = began_at
        self.ended_at: float | None = None
        self.by: GatewayProcess | None = None

    @property
    def seen(self) -> Seen:
        return self.connection.seen(stream=self.call.stream)

    async def ask(self, by: GatewayProcess) -> None:
        """Until its connection ends, or its patience."""
        loop = by.world.loop
        self.by = by
        by.takes(self.connection, _context(self.call, by), _parsed(self.call))
        patience_s = None if self.call.patience_s == float("inf") else self.call.patience_s
        try:
            async with asyncio.timeout(patience_s):
                await self.connection.closed.wait()
        except TimeoutError:
            self.connection.hung_up.set()
            await self.connection.closed.wait()
        self.ended_at = loop.time()


def _context(call: Asked, by: GatewayProcess) -> RequestContext:
    clock = by.world.clock
    context = RequestContext(
        request_id=call.id,
        path="/v1",
        headers={},
        received=clock.monotonic(),
        received_at=clock.time(),
    )
    context.principal = call.principal
    return context


def _parsed(call: Asked) -> ParsedRequest:
    body: dict[str, Any] = {"messages": [{"role": "user", "content": "what is it, and how?"}]}
    if call.max_tokens is not None:
        body["max_tokens"] = call.max_tokens
    is_chat = call.model == "chat"
    return ParsedRequest(
        model=call.model,
        task="chat" if is_chat else "infer",
        body=msgspec.json.encode(body),
        stream=call.stream,
        show_usage=False,
        output_tokens=(call.max_tokens or 40) if is_chat else 20,
        unbounded=0 if call.max_tokens is not None else 1,
    )
