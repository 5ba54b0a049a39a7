"""Any server with Potassium's face: Potassium 0.5, this project's own runtime by itself, Banana's.

A call is one POST to the handler's path under ``X-Banana-Request-Id``. Read in Potassium 0.5.0,
which is run beside the tests: its port is closed until ``init`` has returned, so a refused
connection is a cold start, and nothing was sent; one worker runs one call and the rest wait in
order (Banana's servers answered 423 instead); a generator that raises leaves its stream open for
ever, and its worker is lost until a restart; ``/_k/warmup`` counts as a request, so nothing here
believes ``sequence_number``; a background call is answered ``{"started": true}``, with no id.

Source: https://github.com/bananaml/potassium
"""

from __future__ import annotations

import msgspec

from adapters.assumptions import tried
from adapters.base import PROBE_S, Clock
from adapters.cold_starts import StartCounted, split
from adapters.errors import BackendError, FailureClass, takes_no
from adapters.http.answers import output_in
from adapters.http.api import Api
from adapters.http.backend import HttpBackend
from adapters.http.openai_calls import OpenAICalls
from adapters.http.passthrough import stream_of
from adapters.http.response import Response
from adapters.polling import poll_until
from adapters.potassium.api import (
    Answered,
    PotassiumSettings,
    job_of,
    output_of,
    path_of,
    port_is_closed,
    status_of,
)
from adapters.potassium.jobs import BackgroundJobs
from adapters.potassium.stream import RuntimeEvents
from adapters.remote_jobs import RemoteJobs
from adapters.types import (
    Assumption,
    Call,
    Capabilities,
    Handle,
    JobState,
    Probe,
    Reply,
    Usage,
)

_SUBMIT_S = 10.0
_ACCEPT_EVENTS = b"Accept: text/event-stream\r\n"


class PotassiumBackend(HttpBackend):
    """An app behind one address."""

    Settings = PotassiumSettings

    def __init__(self, name: str, settings: PotassiumSettings, clock: Clock) -> None:
        api = Api(
            settings.base_url,
            clock,
            settings,
            headers=settings.all_headers(),
            secrets=(settings.api_key,),
        )
        self._heads = api.heads(settings.routes_by_task())
        capabilities = Capabilities(tasks=frozenset(self._heads), streaming=not settings.background)
        super().__init__(name, api, capabilities)
        self._settings = settings
        self._calls = OpenAICalls(api, settings)
        self._closed_since: float | None = None
        self._jobs: RemoteJobs[str] = RemoteJobs(self._stop, clock)
        self._background = BackgroundJobs(self._ask, api)

    async def aclose(self) -> None:
        await self._jobs.aclose()
        await super().aclose()

    @property
    def slots(self) -> int | None:
        return self._settings.slots

    async def invoke(self, call: Call) -> Reply:
        """Asks again while the server starts, for ``start_wait`` at most: no handler has run."""
        head = self._heads.get(call.task)
        if head is None or (call.stream and self._settings.background):
            what = "streams" if head is not None else f"{call.task} calls"
            raise takes_no(what)
        head += b"X-Banana-Request-Id: %b\r\n" % call.id.encode()
        began = self._clock.monotonic()
        deadline = min(call.deadline, began + self._settings.timeout)
        waited = 0.0
        while True:
            try:
                reply = await self._answer(call, head, deadline, waited)
            except BackendError as error:
                if not (port_is_closed(error) or error.failure is FailureClass.LOADING):
                    raise
                await self._wait_for_start(call, error, began, deadline)
                waited = self._clock.monotonic() - began
            else:
                self._closed_since = None
                return reply

    async def cancel(self, call_id: str) -> Usage | None:
        """Stops a background call at a server that named it; other calls end with their
        connection, and at Potassium itself not even so."""
        return await self._jobs.cancel(call_id)

    # --- jobs that outlive their caller ----------------------------------------------------

    async def submit(self, call: Call) -> Handle:
        """One background call. The server keeps its last 1000 results, in memory."""
        if not self._settings.background or call.task != "infer":
            raise BackendError(
                FailureClass.UNSUPPORTED, "Only the calls of a background handler are jobs."
            )
        head = self._heads["infer"] + b"X-Banana-Request-Id: %b\r\n" % call.id.encode()
        deadline = min(call.deadline, self._clock.monotonic() + _SUBMIT_S)
        # One that is left here is known by the call's own id, and can be cancelled by it.
        self._jobs.remember(call.id, call.id)
        try:
            response = await self._api.client.request(head, call.body, deadline=deadline)
        except BackendError as error:
            self._jobs.forget(call.id)
            raise self._starting(error) if port_is_closed(error) else error from None
        self._jobs.forget(call.id)
        return self._background.taken(call, response)

    async def poll(self, handle: Handle) -> JobState:
        return await self._background.poll(handle)

    async def stop(self, handle: Handle) -> Usage | None:
        return await self._background.stop(handle)

    # --- how it is -------------------------------------------------------------------------

    async def ping(self) -> Usage:
        """``/_k/warmup``, which at Potassium runs no handler: that it answers is the warmth."""
        began = self._clock.monotonic()
        try:
            response = await self._ask("POST", "/_k/warmup", self._settings.timeout)
        except BackendError as error:
            raise self._starting(error) if port_is_closed(error) else error from None
        self._api.checked(response)
        return Usage(exec_s=self._clock.monotonic() - began)

    async def probe(self) -> Probe:
        try:
            response = await self._ask("GET", "/_k/status")
        except BackendError as error:
            if port_is_closed(error):
                return Probe(ready=False, warm_workers=0, detail="the port is closed: it starts")
            return error.as_probe()
        return status_of(response, self._settings)

    async def assumptions(self) -> list[Assumption]:
        return [await tried("/_k/status says how it stands", self._status)]

    # --- inside ----------------------------------------------------------------------------

    async def _status(self) -> tuple[bool, str]:
        response = self._api.checked(await self._ask("GET", "/_k/status"))
        probe = status_of(response, self._settings)
        return "/_k/status" not in probe.detail, probe.detail or "a worker is free"

    async def _answer(self, call: Call, head: bytes, deadline: float, waited: float) -> Reply:
        if call.task != "infer":
            return _with_cold(await self._calls.ask(call, head), waited)
        if call.stream:
            return await self._stream(call, head, deadline, waited)
        began = self._clock.monotonic()
        response = await self._api.client.request(head, call.body, deadline=deadline)
        if self._settings.background and response.status in (200, 202):
            return await self._see_through(call, response, deadline, began)
        self._api.checked(response)
        usage = Usage(exec_s=self._clock.monotonic() - began, cold_s=waited or None)
        return output_in(response, usage)

    async def _stream(self, call: Call, head: bytes, deadline: float, waited: float) -> Reply:
        began = self._clock.monotonic()
        answer = await self._api.open(head + _ACCEPT_EVENTS, call.body, deadline)
        usage = Usage(exec_s=self._clock.monotonic() - began, cold_s=waited or None)
        return await stream_of(
            self._api,
            answer,
            "infer",
            usage,
            limit=self._settings.max_response,
            max_event=self._settings.max_event,
            events=RuntimeEvents,
        )

    async def _see_through(
        self, call: Call, response: Response, deadline: float, began: float
    ) -> Reply:
        """The result of a background call, from a server that named it; else that it began."""
        job = job_of(response.body)
        if not job:
            return Reply(body=response.body, usage=Usage())
        self._jobs.remember(call.id, job)
        answered = await poll_until(
            lambda: self._job(job, deadline),
            self._clock,
            deadline=deadline,
            every=self._settings.poll_every,
        )
        self._jobs.forget(call.id)
        usage = Usage(exec_s=self._clock.monotonic() - began)
        return Reply(body=output_of(answered, usage, self._api.secrets), usage=usage)

    async def _stop(self, job: str) -> Usage | None:
        await self._ask("POST", path_of(job) + "/cancel")
        return None

    async def _job(self, job: str, deadline: float) -> Answered | None:
        left = min(deadline - self._clock.monotonic(), PROBE_S)
        response = await self._ask("GET", path_of(job), left)
        return Answered.read(self._api.checked(response).body)

    async def _wait_for_start(
        self, call: Call, error: BackendError, began: float, deadline: float
    ) -> None:
        """Until the server is worth trying again. Raises where the call may wait no longer."""
        now = self._clock.monotonic()
        starting = self._starting(error)
        until = min(deadline, began + self._settings.start_wait)
        if starting.failure is FailureClass.UNREACHABLE or now >= until:
            raise starting
        call.progress.queued_until = now
        await self._clock.sleep(min(self._settings.start_every, until - now))

    def _starting(self, error: BackendError) -> BackendError:
        """A closed port is a start, until it has been closed for longer than any start takes."""
        if error.failure is FailureClass.LOADING:
            return error
        now = self._clock.monotonic()
        if self._closed_since is None:
            self._closed_since = now
        if now - self._closed_since > self._settings.start_timeout:
            return error
        return BackendError(FailureClass.LOADING, "The server is not up yet.", detail=error.detail)

    async def _ask(self, method: str, path: str, within: float = PROBE_S) -> Response:
        body = None if method == "GET" else b"{}"
        response = await self._api.send(method, path, body, within=within)
        self._closed_since = None
        return response


def _with_cold(reply: Reply, waited: float) -> Reply:
    if not waited:
        return reply
    if reply.chunks is not None:
        chunks = StartCounted(reply.chunks, waited, inside=False)
        return msgspec.structs.replace(reply, chunks=chunks)
    return msgspec.structs.replace(reply, usage=split(reply.usage, waited, inside=False))
