"""A kind of backend in a package of its own: a service that says a text in capitals.

``POST /shout`` with ``{"text": "hello"}`` answers ``{"said": "HELLO"}``; with the header
``Accept: text/event-stream`` it answers word by word, and ends with the event ``[END]``.
"""

from __future__ import annotations

import msgspec

from adapters.base import Clock
from adapters.errors import BackendError, FailureClass
from adapters.http import (
    EVENTS,
    Api,
    Body,
    ChunkStream,
    HttpBackend,
    bearer,
    check_size,
    input_of,
    last_boundary,
    read,
)
from adapters.settings import HttpSettings, SecretStr
from adapters.types import INFER_ONLY, Call, Capabilities, Probe, Reply, Usage

LIMIT = 256 * 1024
END = b"data: [END]\n\n"


class ShoutSettings(HttpSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    api_key: SecretStr


class Shout(HttpBackend):
    """The service at one address."""

    Settings = ShoutSettings

    def __init__(self, name: str, settings: ShoutSettings, clock: Clock) -> None:
        key = settings.api_key
        api = Api(settings.base_url, clock, settings, headers=bearer(key), secrets=(key,))
        super().__init__(name, api, Capabilities(tasks=INFER_ONLY, max_request_bytes=LIMIT))
        self._timeout = settings.timeout
        self._head = api.head("POST", "/shout")
        self._stream_head = api.head("POST", "/shout", EVENTS)

    async def invoke(self, call: Call) -> Reply:
        check_size(call.body, LIMIT)
        body = input_of(call.body)
        started = self._clock.monotonic()
        deadline = min(call.deadline, started + self._timeout)
        if call.stream:
            events = await self._api.open(self._stream_head, body, deadline)
            chunks = Words(events, call, self._clock)
            await chunks.first()
            return Reply(content_type="text/event-stream", chunks=chunks)
        answer = await self._api.client.request(self._head, body, deadline=deadline)
        said = self._api.checked(answer).body
        usage = Usage(exec_s=self._clock.monotonic() - started)
        read(said, msgspec.Raw, "The service answered no JSON.", usage)
        return Reply(body=said, usage=usage)

    async def probe(self) -> Probe:
        try:
            health = await self._api.send("GET", "/health")
        except BackendError as error:
            return Probe(ready=False, detail=error.message)
        return Probe(ready=health.status == 200, detail=f"/health answers {health.status}")


class Words(ChunkStream):
    """The service's events, as they come; without its last one they are no answer."""

    def __init__(self, body: Body, call: Call, clock: Clock) -> None:
        super().__init__(call.task)
        self._body = body
        self._clock = clock
        self._started = clock.monotonic()
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
