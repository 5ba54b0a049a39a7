"""RunPod's management plane (api.runpod.io, v2): workers, their bounds, the bill, the catalogue.

Version 1 (rest.runpod.io), announced to end on 2026-11-15, is spoken as far as the bounds of
workers go. Assumed, for nothing here was run against the live platform: a billing record names
its bucket's start as ``time``, ``startTime`` or ``timestamp`` in RFC 3339 and its device time as
``timeBilledMs``, each of which may be missing; amounts are dollars.

Source: https://docs.runpod.io/api-reference, as of 2026-08.
"""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, TypeVar
from urllib.parse import urlencode

import msgspec

from adapters.base import Clock
from adapters.errors import BackendError, FailureClass
from adapters.http.client import Origin, client_of, render_head
from adapters.http.connection import Response
from adapters.http.failures import read, refused
from adapters.runpod.jobs import UNREADABLE
from adapters.runpod.prices import (
    Catalogue,
    EndpointGpus,
    EndpointWorkers,
    asked_by,
    asked_of,
)
from adapters.runpod.settings import RunPodSettings
from adapters.types import AskedPrice, Bill, BillLine

T = TypeVar("T")

_TIMEOUT = 10.0
_BILL_TIMEOUT = 30.0
_DONE = (200, 202, 204)
_CATALOGUE = "/catalog/gpus"
_BUCKETS = {"hour": 3600.0, "day": 86_400.0}


class WorkerCounts(msgspec.Struct, frozen=True):
    """The endpoint's workers by what they do; those scaled down are not counted."""

    running: int = 0
    idle: int = 0
    initializing: int = 0
    throttled: int = 0
    """Wanted, and no device is free for them."""
    unhealthy: int = 0

    @property
    def warm(self) -> int:
        return self.running + self.idle


class WorkerBounds(msgspec.Struct, frozen=True):
    """``None`` is "not told"."""

    min: int | None = None
    max: int | None = None


class _Listed(msgspec.Struct, frozen=True):
    summary: WorkerCounts = WorkerCounts()


class _EndpointV2(msgspec.Struct, frozen=True):
    workers: WorkerBounds = WorkerBounds()


class _EndpointV1(msgspec.Struct, frozen=True, rename="camel"):
    workers_min: int | None = None
    workers_max: int | None = None


class _Record(msgspec.Struct, frozen=True, rename="camel"):
    total_amount: Decimal
    time: str | None = None
    start_time: str | None = None
    timestamp: str | None = None
    time_billed_ms: float | None = None
    serverless_id: str | None = None
    gpu_amount: Decimal | None = None
    cpu_amount: Decimal | None = None
    disk_amount: Decimal | None = None
    fee_amount: Decimal | None = None

    @property
    def parts(self) -> dict[str, int]:
        """What the amount is made of, without what is nothing."""
        stated = {
            "gpu": self.gpu_amount,
            "cpu": self.cpu_amount,
            "disk": self.disk_amount,
            "fee": self.fee_amount,
        }
        return {name: _nano(amount) for name, amount in stated.items() if amount}

    @property
    def began(self) -> float | None:
        """Seconds since 1970-01-01 UTC."""
        for said in (self.time, self.start_time, self.timestamp):
            if said is None:
                continue
            try:
                instant = datetime.fromisoformat(said)
            except ValueError:
                continue
            return (instant if instant.tzinfo else instant.replace(tzinfo=UTC)).timestamp()
        return None


class ManagementApi:
    """The requests, each answered by a value. Raises BackendError and nothing else."""

    def __init__(self, settings: RunPodSettings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._origin = Origin(settings.plane)
        self._client = client_of(self._origin, clock, settings)
        self._legacy = settings.management == "v1"
        kind = "endpoints" if self._legacy else "serverless"
        self._path = f"/{kind}/{settings.endpoint}"

    def __repr__(self) -> str:
        return repr(self._client)

    def start(self) -> None:
        self._client.start()

    async def aclose(self) -> None:
        await self._client.aclose()

    async def workers(self, deadline: float) -> WorkerCounts:
        """How many workers there are of each kind. Version 1 does not tell."""
        if self._legacy:
            raise _untold("Version 1 of the management plane lists no workers.")
        response = await self._ask("GET", self._path + "/workers", deadline=deadline)
        return _read(response, _Listed).summary

    async def bounds(self, deadline: float) -> WorkerBounds:
        """``workers.min`` and ``workers.max`` as they are set."""
        response = await self._ask("GET", self._path, deadline=deadline)
        if not self._legacy:
            return _read(response, _EndpointV2).workers
        endpoint = _read(response, _EndpointV1)
        return WorkerBounds(endpoint.workers_min, endpoint.workers_max)

    async def keep_workers(self, minimum: int) -> None:
        """Sets ``workers.min``, and ``workers.max`` where the settings name one."""
        maximum = self._settings.scale_max
        bounds = {"min": minimum} if maximum is None else {"min": minimum, "max": maximum}
        changed: dict[str, Any] = {"workers": bounds}
        if self._legacy:
            changed = {f"workers{bound.capitalize()}": count for bound, count in bounds.items()}
        body = msgspec.json.encode(changed)
        await self._ask("PATCH", self._path, body, deadline=self._in(_TIMEOUT))

    async def bill(self, start: float, end: float) -> Bill:
        """The endpoint's billing records, by the hour up to four days and by the day beyond."""
        if self._legacy:
            raise _untold("Version 1 of the management plane is not asked for bills.")
        size = "hour" if end - start <= 4 * _BUCKETS["day"] else "day"
        query = urlencode(
            {
                "serverlessId": self._settings.endpoint,
                "bucketSize": size,
                "startTime": _rfc3339(start),
                "endTime": _rfc3339(end),
            }
        )
        path = f"/billing/serverless?{query}"
        response = await self._ask("GET", path, deadline=self._in(_BILL_TIMEOUT))
        lines = [
            _line(record, start, end, _BUCKETS[size])
            for record in _records(response)
            if record.serverless_id in (None, self._settings.endpoint)
        ]
        return Bill(start=start, end=end, lines=tuple(lines))

    async def asked_prices(self) -> list[AskedPrice]:
        """What the catalogue asks today for the GPUs that the endpoint may use; where its own
        words lead to none of them, for those of its workers."""
        if self._legacy:
            raise _untold("Version 1 of the management plane states no prices.")
        source, deadline = self._settings.plane + _CATALOGUE, self._in(_TIMEOUT)
        endpoint = _read(await self._ask("GET", self._path, deadline=deadline), EndpointGpus)
        catalogue = _read(await self._ask("GET", _CATALOGUE, deadline=deadline), Catalogue)
        if endpoint.gpu is not None and (asked := asked_of(endpoint.gpu, catalogue, source)):
            return asked
        listed = await self._ask("GET", self._path + "/workers", deadline=deadline)
        if asked := asked_by(_read(listed, EndpointWorkers).workers, catalogue, source):
            return asked
        raise _untold("The catalogue has no serverless price for what this endpoint runs on.")

    # --- inside ----------------------------------------------------------------------------

    async def _ask(
        self, method: str, path: str, body: bytes | None = None, *, deadline: float
    ) -> Response:
        head = render_head(method, self._origin, path, self._settings.auth)
        response = await self._client.request(head, body, deadline=deadline)
        if response.status not in _DONE:
            raise refused(response, now=self._clock.time(), secrets=self._settings.secrets)
        return response

    def _in(self, seconds: float) -> float:
        return self._clock.monotonic() + seconds


def _line(record: _Record, start: float, end: float, bucket: float) -> BillLine:
    """A record that does not say when it was is laid over the whole period."""
    began = record.began
    milliseconds = record.time_billed_ms
    return BillLine(
        start=start if began is None else began,
        end=end if began is None else began + bucket,
        cost_nano=_nano(record.total_amount),
        seconds=None if milliseconds is None else milliseconds / 1000,
        label=record.serverless_id or "",
        parts=record.parts,
    )


def _nano(dollars: Decimal) -> int:
    try:
        return int((dollars * 1_000_000_000).to_integral_value())
    except (InvalidOperation, ValueError, OverflowError):
        raise _unreadable("an amount is no number") from None


def _records(response: Response) -> list[_Record]:
    """The records of a bill: a list, by itself or under the one key that holds a list."""
    if response.body.lstrip().startswith(b"["):
        return _read(response, list[_Record])
    for held in _read(response, dict[str, msgspec.Raw]).values():
        if bytes(held).lstrip().startswith(b"["):
            return read(held, list[_Record], UNREADABLE)
    raise _unreadable("no list of records")


def _read(response: Response, kind: type[T]) -> T:
    return read(response.body, kind, UNREADABLE)


def _rfc3339(instant: float) -> str:
    return datetime.fromtimestamp(instant, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _unreadable(detail: str) -> BackendError:
    return BackendError(FailureClass.FAILED, UNREADABLE, detail=detail)


def _untold(message: str) -> BackendError:
    return BackendError(FailureClass.UNSUPPORTED, message)
