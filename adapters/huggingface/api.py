"""The management API of Hugging Face Inference Endpoints, and what a 503 means by what it says.

Source: https://huggingface.co/docs/inference-endpoints, and the requests of ``huggingface_hub``
2.4. Assumed: ``status.readyReplica`` and ``status.targetReplica`` count replicas; a body of
``compute.scaling.minReplica`` alone changes that and nothing else.
"""

from __future__ import annotations

import asyncio

import msgspec

from adapters.base import Clock
from adapters.errors import BackendError, FailureClass
from adapters.http.client import Origin, client_of, render_head
from adapters.http.connection import Response
from adapters.http.failures import read, refused
from adapters.settings import HttpSettings, Secret
from adapters.types import Probe

_ASK_TIMEOUT = 4.0
_FRESH = 2.0
"""Seconds that a state is believed: an endpoint that refuses many calls is asked about once."""


class EndpointStatus(msgspec.Struct, frozen=True, kw_only=True):
    state: str = ""
    ready: int | None = msgspec.field(default=None, name="readyReplica")
    target: int | None = msgspec.field(default=None, name="targetReplica")


class _Endpoint(msgspec.Struct):
    status: EndpointStatus = EndpointStatus()


_STARTING = ("pending", "initializing", "updating")


class EndpointApi:
    """One endpoint, by its ``namespace/name``. Raises BackendError and nothing else."""

    def __init__(
        self, url: str, endpoint: str, key: Secret, settings: HttpSettings, clock: Clock
    ) -> None:
        self._clock = clock
        self._secrets = (key,)
        self._origin = Origin(url)
        self._client = client_of(self._origin, clock, settings)
        self._path = f"/endpoint/{endpoint}"
        self._headers = {
            "Authorization": f"Bearer {key.reveal()}",
            "Content-Type": "application/json",
        }
        self._asking: asyncio.Task[EndpointStatus] | None = None
        self._known: EndpointStatus | None = None
        self._known_at = float("-inf")

    def start(self) -> None:
        self._client.start()

    async def aclose(self) -> None:
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.wait([self._asking])
        await self._client.aclose()

    async def status(self) -> EndpointStatus:
        """How the endpoint stands now, or stood a moment ago; callers at once share a request."""
        if self._known is not None and self._clock.monotonic() - self._known_at <= _FRESH:
            return self._known
        if self._asking is None or self._asking.done():
            self._asking = asyncio.ensure_future(self._fresh())
            self._asking.add_done_callback(_heed)
        return await asyncio.shield(self._asking)

    async def keep(self, minimum: int) -> None:
        """Sets ``minReplica``; an endpoint that is paused is resumed for it."""
        if minimum and (await self._fresh()).state == "paused":
            await self.resume()
        body = msgspec.json.encode({"compute": {"scaling": {"minReplica": minimum}}})
        await self._ask("PUT", "", body)

    async def pause(self) -> None:
        await self._ask("POST", "/pause", b"")

    async def resume(self) -> None:
        await self._ask("POST", "/resume", b"")

    # --- inside ----------------------------------------------------------------------------

    async def _fresh(self) -> EndpointStatus:
        response = await self._ask("GET", "")
        status = read(response.body, _Endpoint, "The endpoint's state could not be read.").status
        self._known, self._known_at = status, self._clock.monotonic()
        return status

    async def _ask(self, method: str, path: str, body: bytes | None = None) -> Response:
        head = render_head(method, self._origin, self._path + path, self._headers)
        deadline = self._clock.monotonic() + _ASK_TIMEOUT
        self._known = None if method != "GET" else self._known
        response = await self._client.request(head, body, deadline=deadline)
        if not 200 <= response.status < 300:
            raise refused(response, now=self._clock.time(), secrets=self._secrets)
        return response


def _heed(asking: asyncio.Task[EndpointStatus]) -> None:
    """Marks an error as seen, since nobody may be left to see it."""
    if not asking.cancelled():
        asking.exception()


def probe_of(status: EndpointStatus) -> Probe:
    """A replica that is up counts, whatever the endpoint is called: an update leaves the old ones
    up until the new ones are."""
    running = status.state == "running"
    ready = status.ready if status.ready is not None else int(running)
    target = status.target or 0
    starting = max(target - ready, int(status.state in _STARTING and not ready))
    return Probe(
        ready=ready > 0 and status.state not in ("paused", "failed"),
        warm_workers=ready,
        starting_workers=starting,
        detail="" if running else f"the endpoint is {status.state or 'in no known state'}",
    )


def refusal_by(status: EndpointStatus, error: BackendError) -> BackendError:
    """What a 503 of the endpoint's proxy means: no replica yet, or none with room."""
    if status.state == "paused" or status.state == "failed":
        failure, message = FailureClass.GONE, f"The endpoint is {status.state}."
    elif status.state == "scaledToZero":
        failure, message = FailureClass.LOADING, "The endpoint was at zero and starts."
    elif _is_empty(status):
        failure, message = FailureClass.LOADING, "The endpoint's replica is not up yet."
    elif status.state:
        failure, message = FailureClass.OVERLOADED, "The endpoint's queue is full."
    else:
        return error
    return BackendError(failure, message, retry_after=error.retry_after, detail=error.detail)


def _is_empty(status: EndpointStatus) -> bool:
    """No replica is up. Where their number is not told, one that runs has some."""
    return status.ready == 0 or (status.ready is None and status.state in _STARTING)
