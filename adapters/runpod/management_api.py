"""RunPod's management plane (api.runpod.io, v2): workers, their bounds, the bill, the catalogue.

Version 1 (rest.runpod.io) has ended. Assumed, for nothing here was run against the live platform: a
billing record names its bucket's start as ``time``, ``startTime`` or ``timestamp`` in RFC 3339 and
its device time as ``timeBilledMs``, each of which may be missing; amounts are dollars.

Sources: https://docs.runpod.io/api-reference-v2,
https://docs.runpod.io/api-reference-v2/migrate-from-v1, as of 2026-11.
"""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import TypeVar
from urllib.parse import urlencode

import msgspec

from adapters.base import Clock
from adapters.bills import DAY_S, nano_of, rfc3339
from adapters.errors import BackendError, FailureClass, malformed
from adapters.http.api import Api
from adapters.http.client import NEVER
from adapters.runpod.jobs import UNREADABLE
from adapters.runpod.prices import (
    Catalogue,
    EndpointGpus,
    EndpointWorkers,
    asked_by,
    asked_of,
)
from adapters.runpod.settings import RunPodSettings
from adapters.shapes.json_texts import read
from adapters.types import AskedPrice, Bill, BillLine

T = TypeVar("T")

_ASK_S = 10.0
_BILL_S = 30.0
_CATALOGUE = "/catalog/gpus"
_BUCKETS = {"hour": 3600.0, "day": DAY_S}


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
        """Workers that are up."""
        return self.running + self.idle


class WorkerBounds(msgspec.Struct, frozen=True):
    """``None`` is "not told"."""

    min: int | None = None
    max: int | None = None


class _Listed(msgspec.Struct, frozen=True):
    summary: WorkerCounts = WorkerCounts()


class _Endpoint(msgspec.Struct, frozen=True):
    workers: WorkerBounds = WorkerBounds()


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
        return {name: nano_of(amount, UNREADABLE) for name, amount in stated.items() if amount}

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


class ManagementApi(Api):
    """The requests about one endpoint, each answered by a value. Raises BackendError and nothing
    else."""

    def __init__(self, settings: RunPodSettings, clock: Clock) -> None:
        super().__init__(
            settings.management_url,
            clock,
            settings,
            headers=settings.auth,
            secrets=settings.secrets,
        )
        self._settings = settings
        self._path = f"/serverless/{settings.endpoint}"

    async def workers(self, deadline: float) -> WorkerCounts:
        """How many workers there are of each kind."""
        return (await self._read(f"{self._path}/workers", _Listed, deadline)).summary

    async def bounds(self, deadline: float) -> WorkerBounds:
        """``workers.min`` and ``workers.max`` as they are set."""
        return (await self._read(self._path, _Endpoint, deadline)).workers

    async def keep_workers(self, minimum: int) -> None:
        """Sets ``workers.min``, and ``workers.max`` where the settings name one."""
        maximum = self._settings.scale_max
        bounds = {"min": minimum} if maximum is None else {"min": minimum, "max": maximum}
        body = msgspec.json.encode({"workers": bounds})
        await self.ask("PATCH", self._path, body, within=_ASK_S)

    async def bill(self, start: float, end: float) -> Bill:
        """The endpoint's billing records, by the hour up to four days and by the day beyond.
        ``start`` and ``end`` in seconds since 1970-01-01 UTC."""
        size = "hour" if end - start <= 4 * DAY_S else "day"
        query = urlencode(
            {
                "serverlessId": self._settings.endpoint,
                "bucketSize": size,
                "startTime": rfc3339(start),
                "endTime": rfc3339(end),
            }
        )
        response = await self.ask("GET", f"/billing/serverless?{query}", within=_BILL_S)
        lines = [
            _line(record, start, end, _BUCKETS[size])
            for record in _records(response.body)
            if record.serverless_id in (None, self._settings.endpoint)
        ]
        return Bill(start=start, end=end, lines=tuple(lines))

    async def asked_prices(self) -> list[AskedPrice]:
        """What the catalogue asks today for the GPUs that the endpoint may use; where its own
        words lead to none of them, for those of its workers. Raises UNSUPPORTED where neither has
        a price."""
        source = self._settings.management_url + _CATALOGUE
        deadline = self.before(NEVER, _ASK_S)
        endpoint = await self._read(self._path, EndpointGpus, deadline)
        catalogue = await self._read(_CATALOGUE, Catalogue, deadline)
        if endpoint.gpu is not None and (asked := asked_of(endpoint.gpu, catalogue, source)):
            return asked
        listed = await self._read(f"{self._path}/workers", EndpointWorkers, deadline)
        if asked := asked_by(listed.workers, catalogue, source):
            return asked
        raise BackendError(
            FailureClass.UNSUPPORTED,
            "The catalogue has no serverless price for what this endpoint runs on.",
        )

    async def _read(self, path: str, kind: type[T], deadline: float) -> T:
        response = await self.ask("GET", path, within=_ASK_S, deadline=deadline)
        return read(response.body, kind, UNREADABLE)


def _line(record: _Record, start: float, end: float, bucket: float) -> BillLine:
    """A record that does not say when it was is laid over the whole period."""
    began = record.began
    milliseconds = record.time_billed_ms
    return BillLine(
        start=start if began is None else began,
        end=end if began is None else began + bucket,
        cost_nano=nano_of(record.total_amount, UNREADABLE),
        seconds=None if milliseconds is None else milliseconds / 1000,
        label=record.serverless_id or "",
        parts=record.parts,
    )


def _records(body: bytes) -> list[_Record]:
    """The records of a bill: a list, by itself or under the one key that holds a list."""
    if body.lstrip().startswith(b"["):
        return read(body, list[_Record], UNREADABLE)
    for found in read(body, dict[str, msgspec.Raw], UNREADABLE).values():
        if bytes(found).lstrip().startswith(b"["):
            return read(found, list[_Record], UNREADABLE)
    raise malformed(UNREADABLE, detail="no list of records")
