"""Sessions of OpenAI's realtime protocol over a WebSocket: each event is one message of JSON, and
passes both ways as it came.

It is imported with the first session.

Source: https://platform.openai.com/docs/guides/realtime-websocket, as of 2026-11.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

from adapters.errors import BackendError, FailureClass, malformed, said_of, unreachable
from adapters.http.api import Api, merged
from adapters.http.failures import clean, failure_in, refusal
from adapters.openai.realtime_usage import RealtimeEvent, RealtimeMeter
from adapters.settings import HttpSettings
from adapters.shapes.json_texts import read_if
from adapters.shortage import has_room, is_ours, last_for_calls, shortage
from adapters.trust import certificate_of, trust_context
from adapters.tunnel import tunnel
from adapters.types import Call, Chunk, Reply, Usage
from adapters.websocket.connection import PacedConnection

_log = logging.getLogger("spillgate.realtime")
_log.setLevel(logging.WARNING)
ROUTE = "/v1/realtime"
MAX_MESSAGE = 16 * 1024 * 1024
"""OpenAI takes 15 MiB of sound in one event."""
_FIRST_S = 5.0
"""A server that has not said that the session is there by then may wait for its caller."""
_CLOSE_S = 2.0
_PING_S = 20.0
_WAITING = 16
"""Messages that wait for a caller who reads slowly; then no more is read."""
_UNTOLD = (1005, 1006)


class _Connect(connect):
    def process_redirect(self, exc: Exception) -> Exception:
        return exc  # a key is shown to nobody but the server that the policy names


class RealtimeCalls:
    """Sessions at one server; ``model`` is its own name for the model."""

    def __init__(self, api: Api, settings: HttpSettings, *, model: str | None, query: str) -> None:
        self._api = api
        self._settings = settings
        self._model = model
        self._query = query

    async def ask(self, call: Call) -> Reply:
        """Opens one, and waits for its first event. Raises what the server refuses."""
        started = self._api.clock.monotonic()
        websocket = await self._open(call)
        session = RealtimeSession(websocket, self._api, started)
        try:
            await session.begin()
        except BaseException:
            await session.close()
            raise
        return Reply(content_type="", chunks=session.chunks(), conversation=session)

    def _url(self, call: Call) -> str:
        origin = self._api.origin
        scheme = "wss" if origin.secure else "ws"
        model = quote(self._model or call.model, safe="")
        query = f"model={model}{'&' if self._query else ''}{self._query}"
        path = ROUTE.removeprefix(self._api.left_out)
        return f"{scheme}://{origin.authority}{origin.prefix}{path}?{query}"

    def _unreachable(self, why: str) -> BackendError:
        return unreachable(self._api.origin.host, self._api.origin.port, why)

    async def _open(self, call: Call) -> ClientConnection:
        if not has_room(last_for_calls()):
            raise shortage("no descriptors but the reserve are left")
        try:
            return await self._connected(call)
        except InvalidStatus as refused:
            said = refused.response
            headers = [(k.lower().encode(), v.encode()) for k, v in said.headers.raw_items()]
            now, secrets = self._api.clock.time(), self._api.secrets
            raise refusal(
                said.status_code, headers, bytes(said.body or b""), now=now, secrets=secrets
            ) from None
        except TimeoutError:
            raise self._unreachable("no connection in time") from None
        except (OSError, ValueError) as error:
            ours = isinstance(error, OSError) and is_ours(error)
            raise shortage(said_of(error)) if ours else self._unreachable(said_of(error)) from None
        except WebSocketException as error:
            raise malformed(f"The backend speaks no WebSocket: {error}.") from None

    async def _connected(self, call: Call) -> ClientConnection:
        origin, settings, client = self._api.origin, self._settings, self._api.client
        context = None
        if origin.secure:
            shown = certificate_of(settings.client_cert, settings.client_key)
            context = trust_context(settings.ca_file, shown)
        through: dict[str, Any] = {}
        if client.proxy is not None:
            through["sock"] = await tunnel(client.proxy, origin.host, origin.port)
            if context is not None:
                through["server_hostname"] = origin.host
        betas = {"OpenAI-Beta": call.betas} if call.betas else {}
        return await _Connect(
            self._url(call),
            ssl=context,
            additional_headers=merged(self._api.headers, betas),
            user_agent_header=None,
            compression=None,
            create_connection=PacedConnection,
            proxy=None,
            open_timeout=settings.connect_timeout,
            close_timeout=_CLOSE_S,
            ping_interval=_PING_S,
            max_size=MAX_MESSAGE,
            max_queue=_WAITING,
            logger=_log,
            **through,
        )


class RealtimeSession:
    """One that is open, since ``started`` in monotonic seconds."""

    def __init__(self, websocket: ClientConnection, api: Api, started: float) -> None:
        self.ended = (1000, "")
        self._websocket = websocket
        self._api = api
        self._started = started
        self._meter = RealtimeMeter()
        self._first: bytes | None = None
        self._closing = False

    async def begin(self) -> None:
        """Waits for the first event. Raises BackendError where that is an error, or the end."""
        try:
            async with asyncio.timeout(_FIRST_S):
                self._first = await self._next()
        except TimeoutError:
            self._first = b""
            return
        if self._first is None:
            code, reason = self.ended
            raise malformed(f"The backend closed the session at once: {code} {reason}".rstrip())
        event = read_if(self._first, RealtimeEvent)
        if event is not None and event.type == "error":
            raise failure_in(read_if(event.error, Any), secrets=self._api.secrets)

    async def chunks(self) -> AsyncIterator[Chunk]:
        """Each event, with what is used by it; at last what all was. Raises BackendError."""
        first, self._first = self._first, None
        try:
            yield Chunk(first or b"", usage=self._meter.used)
            while (message := await self._next()) is not None:
                if (event := read_if(message, RealtimeEvent)) is None:  # so nobody could count it
                    raise malformed("The backend sent what is no event.", usage=self._used())
                self._meter.received(event)
                yield Chunk(message, usage=self._meter.used, tokens=0)
            yield Chunk(b"", "usage", self._used())
        finally:
            await self.close()

    async def send(self, message: bytes) -> None:
        """Passes a caller's event on, when the server reads."""
        self._meter.sent(message)
        try:
            await self._websocket.send(message, text=True)
        except ConnectionClosed:
            return  # whoever reads the chunks learns why

    async def close(self) -> None:
        """Ends the session; within a short time, whatever the server does."""
        self._closing = True
        try:
            await self._websocket.close()
        except asyncio.CancelledError:
            self._websocket.transport.abort()
            raise

    async def _next(self) -> bytes | None:
        """None where the session has ended well."""
        try:
            message = await self._websocket.recv(decode=None)
        except ConnectionClosed as closed:
            if closed.rcvd is not None:
                code = closed.rcvd.code
                self.ended = (1000 if code in _UNTOLD else code, self._clean(closed.rcvd.reason))
            if self._closing or self._ended_well(closed):
                return None
            raise self._broken(closed) from None
        if isinstance(message, str):
            return message.encode()
        raise malformed("The backend sent a binary message.", usage=self._used())

    @staticmethod
    def _ended_well(closed: Any) -> bool:
        return closed.rcvd is not None and closed.rcvd.code in (1000, 1001, 1005)

    def _broken(self, closed: Any) -> BackendError:
        code, reason = self.ended
        self.ended = (code if code != 1000 else 1011, reason)
        said = f" with {code}: {reason}" if closed.rcvd is not None else ""
        return BackendError(
            FailureClass.TRUNCATED,
            f"The backend broke the session off{said}.",
            usage=self._used(),
            detail=self._clean(str(closed)),
        )

    def _used(self) -> Usage:
        exec_s = self._api.clock.monotonic() - self._started
        return msgspec.structs.replace(self._meter.used, exec_s=exec_s)

    def _clean(self, words: str) -> str:
        return clean(words, self._api.secrets)
