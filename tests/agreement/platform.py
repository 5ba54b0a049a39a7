"""A platform in RunPod's words, whose workers start, idle and end as a replay has them, in time
that passes."""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from gateway.clock import SystemClock
from gateway.policy.model import BackendSpec
from gateway.replay.policy_scenario import start_samples
from gateway.replay.virtual.backends import ROUND_TRIP_S, starts_of
from gateway.replay.virtual.workers import WorkerPool


class StandIn:
    """One endpoint. Each answer says when its call began to run, on the machine's own clock."""

    def __init__(self, spec: BackendSpec, seed: int) -> None:
        cold, idle_s = spec.common.cold_start, spec.common.idle_timeout
        assert cold is not None
        assert idle_s is not None
        self.seconds: Counter[str] = Counter()
        """Of its workers, by what they did."""
        self.until = math.inf
        """What its workers do later, by the machine's clock, is not counted."""
        self.pool = WorkerPool(
            start_samples(cold), idle_s, SystemClock(), starts_of(spec.name, seed), self._spent
        )
        self._jobs = 0

    def _spent(self, did: str, begin: float, end: float) -> None:
        self.seconds[did] += max(0.0, min(end, self.until) - begin)  # type: ignore[assignment]

    def application(self) -> Starlette:
        endpoint = "/v2/{endpoint}", "/serverless/{endpoint}"
        return Starlette(
            routes=[
                Route(f"{endpoint[0]}/runsync", self._run, methods=["POST"]),
                Route(f"{endpoint[0]}/health", self._health),
                Route(f"{endpoint[1]}/workers", self._workers),
                Route(endpoint[1], self._bounds, methods=["GET", "PATCH"]),
            ]
        )

    async def _run(self, request: Request) -> JSONResponse:
        came = time.monotonic()
        seconds = (await request.json())["input"]["seconds"]
        taken = self.pool.take() or await self.pool.wait()
        began = time.monotonic()
        try:
            await asyncio.sleep(seconds)
        finally:
            self.pool.give_back(taken)
            ended = time.monotonic()
            self._spent("run", began, ended)
        self._jobs += 1
        return JSONResponse(
            {
                "id": f"job-{self._jobs}",
                "status": "COMPLETED",
                "delayTime": round(1000 * (began - came)),
                "executionTime": round(1000 * (ended - began)),
                "workerId": f"worker-{taken.number}",
                "output": {"began": began},
            }
        )

    async def _health(self, _: Request) -> JSONResponse:
        await asyncio.sleep(ROUND_TRIP_S)
        pool = self.pool
        workers = {
            "idle": pool.up - pool.busy, "running": pool.busy, "initializing": pool.starting,
        }  # fmt: skip
        jobs = {"inQueue": pool.waiting, "inProgress": pool.busy}
        return JSONResponse({"jobs": jobs, "workers": workers})

    async def _workers(self, _: Request) -> JSONResponse:
        await asyncio.sleep(ROUND_TRIP_S)
        pool = self.pool
        counts = {
            "idle": pool.up - pool.busy, "running": pool.busy, "initializing": pool.starting,
        }  # fmt: skip
        return JSONResponse({"summary": counts, "workers": []})

    async def _bounds(self, request: Request) -> JSONResponse:
        if request.method == "PATCH":
            await asyncio.sleep(ROUND_TRIP_S)
            self.pool.keep((await request.json())["workers"]["min"])
        return JSONResponse({"workers": {"min": self.pool.minimum, "max": 100}})
