"""A Cog container, over its own HTTP API (what a Replicate model exposes inside).

A call is a PUT under its own id, so that it can be cancelled by that id from its first byte on;
a connection that is closed cancels it too. A stream is the same with ``Accept:
text/event-stream``; a model that has no stream answers 406 before it runs, and is then asked for
its whole answer. Nothing is queued: a server whose slots are all in use answers 409.

Read in cog 0.23.1, on this protocol and no other: a failed model is HTTP 200 with status
``failed``; 503 means that setup has not ended, or has failed; 202 means that this id is running
already; an asynchronous generator's output comes all at its end.

Source: https://github.com/replicate/cog/blob/main/docs/http.md
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from adapters.assumptions import tried
from adapters.base import PROBE_S, Clock
from adapters.errors import BackendError, FailureClass, takes_no
from adapters.http.api import EVENTS, Api
from adapters.http.backend import HttpBackend
from adapters.http.chunks import END_GRACE_S, ChunkStream, once
from adapters.http.client import Origin
from adapters.http.failures import clean
from adapters.http.named_events import NamedEvent, NamedEvents
from adapters.http.outputs import check_size, event_of, input_of
from adapters.http.predictions import Prediction, decode_prediction, failure_of, reply_of
from adapters.http.response import Body, Response
from adapters.settings import (
    Count,
    Duration,
    HttpSettings,
    HttpUrl,
    PositiveDuration,
    Secret,
    SecretStr,
)
from adapters.shapes.error_words import words_in
from adapters.shapes.json_texts import read, read_if
from adapters.types import (
    ALL_TASKS,
    INFER_ONLY,
    Assumption,
    Call,
    Capabilities,
    Chunk,
    Probe,
    Reply,
    Task,
    Usage,
)
from adapters.whole_events import MAX_EVENT

BODY_LIMIT = 100 * 1024 * 1024
"""Bytes of a request that Cog's server takes."""
_ENVELOPE = 64
_TELLS_NOTHING = "/health-check answers"
_NOBODYS = "spillgate-no-such-call"
_CANCEL_TRIES = 5
_WARM = ("READY", "BUSY")


class CogSettings(HttpSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One container with Cog's HTTP server."""

    base_url: HttpUrl
    """Where the container is, such as http://127.0.0.1:5000."""
    slots: Count = 1
    """Calls that it runs at once: its COG_MAX_CONCURRENCY."""
    openai: bool = False
    """The model's input is the body of an OpenAI call and its output the answer; otherwise it
    takes /v1/infer calls alone."""
    api_key: SecretStr | None = None
    """Sent as a bearer token, for a proxy in front: Cog itself asks for none."""
    stall_timeout: PositiveDuration = 120.0
    """The longest silence inside a stream that has begun; Cog itself sends a sign every 15s."""
    keep_alive: Duration = 30.0
    """How long an unused connection is kept."""
    max_connections: Count = 64
    """Calls in flight."""

    def __post_init__(self) -> None:
        Origin(self.base_url)


class CogApi(Api):
    """The API of one container."""

    def refusal(self, response: Response) -> BackendError:
        """202 and 503 are Cog's own, and a refused input names its field in the caller's terms."""
        if response.status == 202:
            return _running_already()
        if response.status == 503:
            return BackendError(FailureClass.LOADING, "The model's setup has not finished.")
        return _naming_the_field(super().refusal(response), response.body, self.secrets)


class Cog(HttpBackend):
    """A container's model."""

    Settings = CogSettings

    def __init__(self, name: str, settings: CogSettings, clock: Clock) -> None:
        capabilities = Capabilities(
            tasks=ALL_TASKS if settings.openai else INFER_ONLY,
            max_request_bytes=BODY_LIMIT - _ENVELOPE,
            queues=False,
        )
        super().__init__(name, CogApi.keyed(settings, clock), capabilities)
        self._settings = settings

    @property
    def slots(self) -> int | None:
        return self._settings.slots

    async def invoke(self, call: Call) -> Reply:
        if call.task not in self.capabilities.tasks:
            raise takes_no(f"{call.task} calls")
        deadline = min(call.deadline, self._clock.monotonic() + self._settings.timeout)
        check_size(call.body, BODY_LIMIT - _ENVELOPE)
        body = b'{"input":%b}' % input_of(call.body)
        if call.stream:
            return await self._stream(call, body, deadline)
        prediction = await self._whole(call, body, deadline)
        return reply_of(prediction, call.task, usage_of(prediction), self._api.secrets)

    async def cancel(self, call_id: str) -> Usage | None:
        """Stops a call. A cancel may overtake the call, and Cog 0.23.1 may lose one, or a closed
        connection, that meets a call at its very start: it is told until it has twice not known
        the id. A few such calls run on all the same, and hold their slot until their end."""
        deadline = self._clock.monotonic() + PROBE_S
        unknown = 0
        for attempt in range(_CANCEL_TRIES):
            try:
                path = f"/predictions/{call_id}/cancel"
                response = await self._api.send("POST", path, b"", deadline=deadline)
            except BackendError:
                return None
            unknown = 0 if response.status == 200 else unknown + 1
            if unknown == 2:
                return None
            await self._clock.sleep(0.1 * 2**attempt)
        return None

    async def probe(self) -> Probe:
        """``/health-check`` answers 200 always; its ``status`` says how the container is."""
        try:
            response = await self._api.send("GET", "/health-check")
        except BackendError as error:
            return error.as_probe()
        return _health_of(response)

    async def assumptions(self) -> list[Assumption]:
        return [
            await tried("/health-check says how the container is", self._health),
            await tried("a cancel of a call that is not known is answered with 404", self._unknown),
        ]

    # --- inside ----------------------------------------------------------------------------

    async def _health(self) -> tuple[bool, str]:
        probe = _health_of(await self._api.send("GET", "/health-check"))
        return _TELLS_NOTHING not in probe.detail, probe.detail or "the container is READY"

    async def _unknown(self) -> tuple[bool, str]:
        """Cog is told to stop until it no longer knows a call: another answer would end that
        late, and a call that it does not know is none that it could stop."""
        status = (await self._api.send("POST", f"/predictions/{_NOBODYS}/cancel", b"")).status
        return status == 404, f"HTTP {status}"

    async def _whole(self, call: Call, body: bytes, deadline: float) -> Prediction:
        head = self._api.head("PUT", f"/predictions/{call.id}")
        response = await self._api.client.request(head, body, deadline=deadline)
        if response.status == 202 or not 200 <= response.status < 300:
            raise self._api.refusal(response)
        prediction = decode_prediction(response.body)
        if not prediction.final:
            raise _running_already()
        return prediction

    async def _stream(self, call: Call, body: bytes, deadline: float) -> Reply:
        head = self._api.head("PUT", f"/predictions/{call.id}", EVENTS)
        answer = await self._api.client.stream(head, body, deadline=deadline)
        if answer.status == 406:
            answer.close()
            return await self._unstreamed(call, body, deadline)
        if answer.status == 202 or not 200 <= answer.status < 300:
            raise self._api.refusal(await answer.to_response())
        chunks = CogStream(
            answer,
            call.task,
            self._clock,
            self._api.secrets,
            max_event=self._settings.max_event,
        )
        await chunks.first()
        return Reply(content_type="text/event-stream", chunks=chunks)

    async def _unstreamed(self, call: Call, body: bytes, deadline: float) -> Reply:
        """A model without a stream, which has not run yet: its whole answer is the one event."""
        if call.task != "infer":
            raise BackendError(FailureClass.UNSUPPORTED, "This backend's model has no stream.")
        prediction = await self._whole(call, body, deadline)
        usage = usage_of(prediction)
        reply = reply_of(prediction, call.task, usage, self._api.secrets)
        chunks = once(Chunk(event_of(reply.body), "data", usage))
        return Reply(content_type="text/event-stream", chunks=chunks)


class CogStream(ChunkStream):
    """Cog's events: ``start``, ``output``, ``log``, ``metric``, ``error``, and ``completed``,
    which holds the whole prediction and is the only good end, whatever its status says."""

    def __init__(
        self,
        body: Body,
        task: Task,
        clock: Clock,
        secrets: tuple[Secret, ...] = (),
        *,
        max_event: int = MAX_EVENT,
    ) -> None:
        super().__init__(task, secrets, max_event=max_event)
        self._body = body
        self._clock = clock
        self._events = NamedEvents(max_event)

    async def _more(self) -> None:
        data = await self._body.read()
        if not data:
            self._ended = True
            raise BackendError(
                FailureClass.TRUNCATED, "The backend's stream ended before the prediction did."
            )
        for event in self._events.feed(data):
            self._take(event)

    def _take(self, event: NamedEvent) -> None:
        if self._ended or self._reader.error is not None:
            return
        if event.name == "output":
            self._put(_piece_of(event.data))
        elif event.name == "completed":
            self._complete(decode_prediction(event.data))
        elif event.name == "error":
            self._broken(FailureClass.FAILED, _said(event.data))

    def _complete(self, prediction: Prediction) -> None:
        usage = usage_of(prediction)
        error = failure_of(prediction, usage, self._secrets)
        if error is not None:
            raise error
        self._finish(bytes(prediction.output), usage)
        self._body.leave(self._clock.monotonic() + END_GRACE_S)

    def _let_go(self) -> None:
        self._body.close()


class _Output(msgspec.Struct):
    chunk: msgspec.Raw = msgspec.Raw(b"null")


def _piece_of(data: bytes) -> bytes:
    return bytes(read(data, _Output, "The backend's stream could not be read.").chunk)


def usage_of(prediction: Prediction) -> Usage:
    """Cog queues nothing and starts nothing for a call: all of its time is the run."""
    ran = prediction.predict_time
    return Usage(queue_s=0.0, cold_s=0.0, exec_s=ran, gpu_s=ran, reported=ran is not None)


def _running_already() -> BackendError:
    """202 for a PUT: the id is known there, so what is told is of an earlier run."""
    return BackendError(FailureClass.AMBIGUOUS, "The backend is running this call already.")


class _Health(msgspec.Struct):
    status: str


def _health_of(response: Response) -> Probe:
    """BUSY means that every slot is in use: it is warm. A setup's logs are never shown."""
    health = read_if(response.body, _Health)
    if health is None:
        return Probe(ready=False, detail=f"{_TELLS_NOTHING} {response.status}")
    status = health.status
    ready = status in _WARM
    return Probe(
        ready=ready,
        warm_workers=int(ready),
        starting_workers=int(status == "STARTING"),
        detail="" if status == "READY" else f"the container is {clean(status)}",
    )


class _Fault(msgspec.Struct):
    loc: list[str | int]
    msg: str


class _Refused(msgspec.Struct):
    detail: Annotated[list[_Fault], msgspec.Meta(min_length=1)]


def _naming_the_field(
    error: BackendError, body: bytes, secrets: tuple[Secret, ...]
) -> BackendError:
    """A refused input, told in the caller's terms: what Cog calls body.input is his body."""
    refused = read_if(body, _Refused) if error.failure is FailureClass.INVALID else None
    if refused is None:
        return error
    fault = refused.detail[0]
    place = [str(part) for part in fault.loc if part not in ("body", "input", "__root__")]
    param = ".".join(place) or None
    said = clean(fault.msg, secrets)
    message = f"{param}: {said}" if param else said
    return BackendError(error.failure, message, param=param, detail=error.detail)


def _said(data: bytes) -> str:
    return words_in(read_if(data, object)) or "The backend's stream ended in an error."
