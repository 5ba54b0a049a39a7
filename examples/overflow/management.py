"""The management plane (v2) of the front: the endpoint, its workers, what they cost and did cost.

Paths and shapes: https://docs.runpod.io/api-reference-v2.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from examples.overflow.meter import BUCKETS, Bucket
from examples.overflow.platform import Platform
from examples.overflow.replies import Endpoint, json_response, keyed, problem

DEVICE = "this machine"


class ManagementRoutes:
    """``/v2/serverless/{endpoint}``, ``/v2/catalog/gpus`` and ``/v2/billing/serverless``."""

    def __init__(self, platform: Platform, api_key: str) -> None:
        self._platform = platform
        self._key = api_key

    def routes(self) -> list[Route]:
        return [
            self._route("/v2/serverless/{endpoint}", self.settings, "GET", "PATCH"),
            self._route("/v2/serverless/{endpoint}/workers", self.workers, "GET"),
            self._route("/v2/catalog/gpus", self.catalogue, "GET"),
            self._route("/v2/billing/serverless", self.bill, "GET"),
        ]

    def _route(self, path: str, endpoint: Endpoint, *methods: str) -> Route:
        return keyed(path, endpoint, *methods, key=self._key, name=self._platform.endpoint)

    async def settings(self, request: Request) -> Response:
        scale = self._platform.scale
        if request.method == "PATCH":
            changed = msgspec.json.decode(await request.body()).get("workers", {})
            scale.min_workers = changed.get("min", scale.min_workers)
            scale.max_workers = changed.get("max", scale.max_workers)
            self._platform.notify()
            self._platform.scale_now()
        workers = {
            "min": scale.min_workers,
            "max": scale.max_workers,
            "idleTimeout": scale.idle_timeout,
        }
        gpu = {"types": [DEVICE], "count": 1}
        return json_response({"id": self._platform.endpoint, "workers": workers, "gpu": gpu})

    async def workers(self, _: Request) -> Response:
        listed = [
            {"id": worker, "gpuTypeId": DEVICE, "gpuCount": 1} for worker in self._platform.workers
        ]
        return json_response({"workers": listed, "summary": self._platform.counts()})

    async def catalogue(self, _: Request) -> Response:
        price = {"serverless": self._platform.meter.usd_per_hour}
        return json_response({"gpus": [{"id": DEVICE, "name": DEVICE, "price": price}]})

    async def bill(self, request: Request) -> Response:
        asked = request.query_params
        if asked.get("serverlessId", self._platform.endpoint) != self._platform.endpoint:
            return json_response({"records": []})
        try:
            start, end = (_instant(asked[name]) for name in ("startTime", "endTime"))
            size = BUCKETS[asked.get("bucketSize", "day")]
            found = list(self._platform.meter.buckets(start, end, size, time.time()))
        except (KeyError, ValueError) as error:
            return problem(400, f"bad request: {error}")
        return json_response({"records": [self._record(bucket) for bucket in found]})

    def _record(self, bucket: Bucket) -> dict[str, Any]:
        cost = self._platform.meter.cost(bucket.seconds)
        return {
            "time": datetime.fromtimestamp(bucket.start, UTC).isoformat(),
            "serverlessId": self._platform.endpoint,
            "totalAmount": cost,
            "gpuAmount": cost,
            "cpuAmount": 0,
            "diskAmount": 0,
            "feeAmount": 0,
            "timeBilledMs": bucket.seconds * 1000,
        }


def _instant(text: str) -> float:
    """Raises ValueError for what is no time in RFC 3339."""
    return datetime.fromisoformat(text).timestamp()
