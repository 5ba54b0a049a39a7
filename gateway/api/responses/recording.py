"""An answer of /v1/responses on its way: it is kept before its end is told, so that whoever knows
its id can go on from it, and it says itself whether it is."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import msgspec

from adapters.shapes.json_texts import UNREADABLE
from adapters.whole_events import WholeEvents, data_of, split_events
from gateway.api.requests.request import Send

Keep = Callable[[dict[str, Any]], Awaitable[bool]]
"""Keeps a response; whether it did."""

_ENDED = frozenset(("response.completed", "response.incomplete"))
_decode = msgspec.json.Decoder(dict[str, Any]).decode


class RecordedResponse:
    """Stands before ``send``. ``keep`` is None where the caller wants nothing kept."""

    def __init__(self, send: Send, keep: Keep | None, previous: str | None) -> None:
        self._send = send
        self._keep = keep
        self._previous = previous
        self._begun: MutableMapping[str, Any] | None = None
        self._is_stream = False
        self._passes = False
        """What failed goes on as it is."""
        self._events = WholeEvents(sys.maxsize)
        """Whoever reads a backend bounds its events."""
        self._body = b""

    async def __call__(self, message: MutableMapping[str, Any]) -> None:
        if self._passes:
            await self._send(message)
        elif message["type"] == "http.response.start":
            await self._begin(message)
        elif message["type"] != "http.response.body":
            await self._send(message)
        elif self._is_stream:
            await self._stream(message)
        else:
            await self._whole(message)

    async def _begin(self, message: MutableMapping[str, Any]) -> None:
        headers = dict(message["headers"])
        self._is_stream = headers.get(b"content-type", b"").startswith(b"text/event-stream")
        self._passes = message["status"] != 200
        self._begun = message
        if self._passes or self._is_stream:
            await self._send(message)

    async def _whole(self, message: MutableMapping[str, Any]) -> None:
        self._body += message.get("body", b"")
        if message.get("more_body", False):
            return
        assert self._begun is not None
        body = await self._told(self._body)
        headers = [(name, value) for name, value in self._begun["headers"] if name != _LENGTH]
        self._begun["headers"] = [*headers, (_LENGTH, b"%d" % len(body))]
        await self._send(self._begun)
        await self._send({**message, "body": body})

    async def _told(self, body: bytes) -> bytes:
        try:
            answer = _decode(body)
        except UNREADABLE:
            return body
        await self._mark(answer, ended=True)
        return msgspec.json.encode(answer)

    async def _stream(self, message: MutableMapping[str, Any]) -> None:
        events = split_events(self._events.feed(message.get("body", b"")))
        told = b"".join([await self._event(event) for event in events])
        more = message.get("more_body", False)
        if not more:
            told += self._events.rest()
        if told or not more:
            await self._send({**message, "body": told})

    async def _event(self, event: bytes) -> bytes:
        """Those of them that hold the response say what becomes of it."""
        if b'"response"' not in event:
            return event
        try:
            value = _decode(data_of(event))
        except UNREADABLE:
            return event
        answer = value.get("response")
        if not isinstance(answer, dict):
            return event
        await self._mark(answer, ended=value.get("type") in _ENDED)
        return b"%sdata: %s\n\n" % (_beside_data(event), msgspec.json.encode(value))

    async def _mark(self, answer: dict[str, Any], *, ended: bool) -> None:
        answer["previous_response_id"] = self._previous
        answer["store"] = self._keep is not None
        if ended and self._keep is not None:
            is_named = isinstance(answer.get("id"), str)
            answer["store"] = is_named and await self._keep(answer)


def _beside_data(event: bytes) -> bytes:
    """Its other lines."""
    lines = [line for line in event.splitlines() if line and not line.startswith(b"data:")]
    return b"".join([line + b"\n" for line in lines])


_LENGTH = b"content-length"
