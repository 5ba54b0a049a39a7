"""A kind of backend in a package of its own: a service that says a text in capitals.

``POST /shout`` with ``{"text": "hello"}`` answers ``{"said": "HELLO"}``; with the header
``Accept: text/event-stream`` it answers word by word, and ends with the event ``[END]``.
"""

from __future__ import annotations

import msgspec

from adapters.base import Clock
from adapters.errors import BackendError, FailureClass
from adapters.http.chunks import ChunkStream
from adapters.http.client import Client, Origin, render_head
from adapters.http.connection import Body
from adapters.http.failures import refused, refused_stream
from adapters.http.outputs import check_size, input_of
from adapters.http.sse import last_boundary
from adapters.settings import Duration, SecretStr
from adapters.types import Call, Capabilities, Probe, Reply, Usage

LIMIT = 256 * 1024
END = b"data: [END]\n\n"


class ShoutSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    base_url: str
    api_key: SecretStr
    timeout: Duration = 60.0
    """The longest that one call may take."""


class Shout:
    Settings = ShoutSettings
    capabilities = Capabilities(tasks=frozenset(("infer",)), max_request_bytes=LIMIT)
    slots = None

    def __init__(self, name: str, settings: ShoutSettings, clock: Clock) -> None:
        self.name = name
        self._clock = clock
        self._timeout = settings.timeout
        self._secrets = (settings.api_key,)
        origin = Origin(settings.base_url)
        self._client = Client(origin, clock)
        headers = {
            "Authorization": f"Bearer {settings.api_key.reveal()}",
            "Content-Type": "application/json",
        }
        events = {**headers, "Accept": "text/event-stream"}
        self._head = render_head("POST", origin, "/shout", headers)
        self._stream_head = render_head("POST", origin, "/shout", events)
        self._health_head = render_head("GET", origin, "/health", headers)

    def __repr__(self) -> str:
        return f"<Shout {self.name}: {self._client!r}>"

    async def start(self) -> None:
        self._client.start()

    async def aclose(self) -> None:
        await self._client.aclose()

    async def invoke(self, call: Call) -> Reply:
        check_size(call.body, LIMIT)
        started = self._clock.monotonic()
        deadline = min(call.deadline, started + self._timeout)
        if call.stream:
            return await self._stream(call, deadline, started)
        response = await self._client.request(self._head, input_of(call.body), deadline=deadline)
        if response.status != 200:
            raise refused(response, now=self._clock.time(), secrets=self._secrets)
        usage = Usage(exec_s=self._clock.monotonic() - started)
        return Reply(body=json_in(response.body), usage=usage)

    async def probe(self) -> Probe:
        soon = self._clock.monotonic() + 4.0
        try:
            response = await self._client.request(self._health_head, deadline=soon)
        except BackendError as error:
            return Probe(ready=False, detail=error.message)
        return Probe(ready=response.status == 200, detail=f"/health answers {response.status}")

    async def _stream(self, call: Call, deadline: float, started: float) -> Reply:
        body = await self._client.stream(self._stream_head, input_of(call.body), deadline=deadline)
        if body.status != 200:
            raise await refused_stream(body, now=self._clock.time(), secrets=self._secrets)
        chunks = Words(body, call, self._clock, started)
        await chunks.first()
        return Reply(content_type="text/event-stream", chunks=chunks)


class Words(ChunkStream):
    """The service's events, as they come; without its last one they are no answer."""

    def __init__(self, body: Body, call: Call, clock: Clock, started: float) -> None:
        super().__init__(call.task)
        self._body = body
        self._clock = clock
        self._started = started
        self._rest = b""

    async def _more(self) -> None:
        data = await self._body.read()
        if not data:
            raise BackendError(FailureClass.TRUNCATED, "The stream ended before its last word.")
        data = self._rest + data
        cut = last_boundary(data)
        whole, self._rest = data[:cut], data[cut:]
        self._feed(whole.removesuffix(END))
        if whole.endswith(END):
            self._finish(b"", Usage(exec_s=self._clock.monotonic() - self._started))
            self._let_go()

    def _let_go(self) -> None:
        self._body.close()


def json_in(body: bytes) -> bytes:
    try:
        msgspec.json.decode(body)
    except msgspec.DecodeError:
        raise BackendError(FailureClass.FAILED, "The service answered no JSON.") from None
    return body
