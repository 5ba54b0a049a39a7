"""A Modal web endpoint: plain HTTPS at an address of its own, with proxy auth where it wants it.

The edge holds one exchange for 150 s. What takes longer is answered with a 303 to the same
endpoint with the call's id in the query; a GET there waits on, and submits nothing. It may be
repeated, so a GET that is lost is asked again. Streams stay open while bytes flow.

Assumed, for nothing here was run against the live platform: a 303 stays at the endpoint's own
host; a refusal of the edge is text that begins with ``modal-http:``.
Source: https://modal.com/docs/guide/webhook-timeouts, .../webhook-proxy-auth, as of 2026-11.
"""

from __future__ import annotations

from urllib.parse import urljoin, urlsplit

from adapters.base import Clock
from adapters.errors import BackendError, FailureClass
from adapters.http.answers import output_in
from adapters.http.api import EVENTS, Api
from adapters.http.endpoint_words import about_the_endpoint
from adapters.http.failures import OUR_MATTER
from adapters.http.outputs import answer_of
from adapters.http.passthrough import stream_of
from adapters.http.response import Body, Response
from adapters.modal.settings import ModalSettings
from adapters.modal.values import json_checked
from adapters.polling import after_taken, lost
from adapters.routes import OPENAI_ROUTES
from adapters.types import Call, Reply, Usage

MAX_HOPS = 20
"""Redirects that are followed: of 150 s each they make 50 minutes, as in a browser."""
_AGAIN = frozenset((FailureClass.UNREACHABLE, FailureClass.AMBIGUOUS))
_EDGE = b"modal-http:"


class ModalEndpoint(Api):
    """The way of a backend with ``url``. Raises BackendError and nothing else."""

    def __init__(self, settings: ModalSettings, clock: Clock) -> None:
        assert settings.url is not None
        super().__init__(
            settings.url,
            clock,
            settings,
            headers=settings.proxy_headers,
            secrets=settings.secrets,
        )
        self._settings = settings

    async def invoke(self, call: Call, deadline: float) -> Reply:
        """Runs a call until an instant of the monotonic clock."""
        started = self.clock.monotonic()
        body, taken = await self._answer(call, deadline)
        if call.stream and 200 <= body.status < 300:
            return await self._stream(call, body, started)
        if not 200 <= body.status < 300:
            refusal = self.refusal(await body.to_response())
            raise after_taken(refusal) if taken else refusal
        data = await body.read_all(self._settings.max_response)
        response = Response(body.status, body.headers, data)
        return self._whole(call, response, self.clock.monotonic() - started)

    async def ping(self) -> Usage:
        """One request to ``health_path``, which wakes a container as any request does."""
        path = self._settings.health_path
        if path is None:
            raise BackendError(FailureClass.UNSUPPORTED, "This endpoint has no health_path.")
        started = self.clock.monotonic()
        response = await self.send("GET", path, within=self._settings.timeout)
        if response.status >= 400:
            raise self.refusal(response)
        return Usage(exec_s=self.clock.monotonic() - started)

    # --- inside ----------------------------------------------------------------------------

    async def _answer(self, call: Call, deadline: float) -> tuple[Body, bool]:
        """The answer's head, past every redirect, and whether there was one: then the call was
        taken. The POST is sent once."""
        path = OPENAI_ROUTES.get(call.task) or self._settings.path
        more = EVENTS if call.stream else None
        head = self.head("POST", path, more)
        body = await self.client.stream(head, call.body, deadline=deadline)
        for hops in range(MAX_HOPS):
            if body.status != 303:
                return body, hops > 0
            there = self._target(body.header(b"location") or "")
            body.close()
            body = await self._waited(self.head("GET", there, more), deadline)
        body.close()
        raise BackendError(FailureClass.TIMEOUT, "The endpoint did not finish in time.")

    async def _waited(self, head: bytes, deadline: float) -> Body:
        try:
            return await self.client.stream(head, deadline=deadline)
        except BackendError as error:
            if error.failure not in _AGAIN:
                raise
        try:
            return await self.client.stream(head, deadline=deadline)
        except BackendError as error:
            if error.failure is not FailureClass.UNREACHABLE:
                raise
            raise lost(error) from None

    def _target(self, location: str) -> str:
        """The path and query of a redirect. The proxy's secret is sent to no other host."""
        here = urlsplit(self._settings.url or "")
        there = urlsplit(urljoin(f"{here.scheme}://{here.netloc}/", location))
        if not location or (there.scheme, there.netloc) != (here.scheme, here.netloc):
            raise BackendError(
                FailureClass.AMBIGUOUS, "The endpoint's answer is at an address of another host."
            )
        path = there.path.removeprefix(self.origin.prefix)
        return f"{path}?{there.query}" if there.query else path

    async def _stream(self, call: Call, body: Body, started: float) -> Reply:
        usage = Usage(exec_s=self.clock.monotonic() - started)
        return await stream_of(
            self,
            body,
            call.task,
            usage,
            limit=self._settings.max_response,
            max_event=self._settings.max_event,
            asked=call.body,
        )

    def _whole(self, call: Call, response: Response, wall: float) -> Reply:
        usage = Usage(exec_s=wall)
        kind = response.header(b"content-type") or "application/json"
        if call.task == "infer" and "json" not in kind:
            return output_in(response, usage)
        return answer_of(json_checked(response.body, usage), call.task, usage, self.secrets)

    def refusal(self, response: Response) -> BackendError:
        """A refusal of the edge is text, and a matter between the gateway and Modal."""
        error = super().refusal(response)
        if not response.body.startswith(_EDGE):
            return error
        meant = about_the_endpoint(error, no_handlers=True)
        if meant.failure in (FailureClass.INVALID, FailureClass.GONE):
            return error.reclassed(FailureClass.GONE, OUR_MATTER[FailureClass.GONE])
        return meant
