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
from adapters.http.api import Api, bearer
from adapters.settings import HttpSettings, Secret
from adapters.shapes.json_texts import read
from adapters.types import Probe
from adapters.waiting import mark_seen

_FRESH = 2.0
"""Seconds that a state is believed: an endpoint that refuses many calls is asked about once."""


class EndpointStatus(msgspec.Struct, frozen=True, kw_only=True):
    """``status`` of an endpoint, as far as it is read."""

    state: str = ""
    ready: int | None = msgspec.field(default=None, name="readyReplica")
    target: int | None = msgspec.field(default=None, name="targetReplica")


class _Endpoint(msgspec.Struct):
    status: EndpointStatus = EndpointStatus()


_STARTING = ("pending", "initializing", "updating")


class EndpointApi(Api):
    """One endpoint, by its ``namespace/name``. Raises BackendError and nothing else."""

    def __init__(
        self, url: str, endpoint: str, key: Secret, settings: HttpSettings, clock: Clock
    ) -> None:
        url = f"{url.rstrip('/')}/endpoint/{endpoint}"
        super().__init__(url, clock, settings, headers=bearer(key), secrets=(key,))
        self._asking: asyncio.Task[EndpointStatus] | None = None
        self._known: EndpointStatus | None = None
        self._known_at = float("-inf")

    async def aclose(self) -> None:
        """Ends a question that is on its way as well."""
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.wait([self._asking])
        await super().aclose()

    async def status(self) -> EndpointStatus:
        """How the endpoint stands now, or stood a moment ago; callers at once share a request."""
        if self._known is not None and self.clock.monotonic() - self._known_at <= _FRESH:
            return self._known
        if self._asking is None or self._asking.done():
            self._asking = asyncio.ensure_future(self._fresh())
            self._asking.add_done_callback(mark_seen)
        return await asyncio.shield(self._asking)

    async def keep(self, minimum: int) -> None:
        """Sets ``minReplica``; an endpoint that is paused is resumed for it."""
        if minimum and (await self._fresh()).state == "paused":
            await self.resume()
        body = msgspec.json.encode({"compute": {"scaling": {"minReplica": minimum}}})
        await self._change("PUT", "", body)

    async def pause(self) -> None:
        """Ends every replica; calls wake none until ``resume``."""
        await self._change("POST", "/pause", b"")

    async def resume(self) -> None:
        """Lets a paused endpoint start its replicas again."""
        await self._change("POST", "/resume", b"")

    # --- inside ----------------------------------------------------------------------------

    async def _fresh(self) -> EndpointStatus:
        response = await self.ask("GET", "")
        status = read(response.body, _Endpoint, "The endpoint's state could not be read.").status
        self._known, self._known_at = status, self.clock.monotonic()
        return status

    async def _change(self, method: str, path: str, body: bytes) -> None:
        """What was known of the endpoint is so no longer."""
        self._known = None
        await self.ask(method, path, body)


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
    return error.reclassed(failure, message)


def _is_empty(status: EndpointStatus) -> bool:
    """No replica is up. Where their number is not told, one that runs has some."""
    return status.ready == 0 or (status.ready is None and status.state in _STARTING)
