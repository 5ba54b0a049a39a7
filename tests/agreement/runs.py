"""The same calls through a gateway that runs, and through a replay of its policy."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import httpx
import msgspec

from gateway.policy.model import Policy
from gateway.policy.reader import read_policy_text
from gateway.replay.traffic import Arrival, Traffic
from gateway.replay.virtual.played import Assumed, play
from gateway.types import NANO
from tests.agreement.machines import served
from tests.agreement.platform import StandIn
from tests.live import LiveGateway, free_port

CONFIG = """
backends:
  home: {{kind: local, app: "tests/programs/sleeper.py:app", workers: {workers}, required: true,
         price: here, expect: {runs}s}}
  burst: {{kind: runpod, endpoint: e, api_key: "${{RUNPOD_API_KEY}}", wait: 300s,
          base_url: "http://127.0.0.1:{port}/v2", management_url: "http://127.0.0.1:{port}",
          price: flex, cold_start: {{p50: {p50}s, p95: {p95}s}}, idle_timeout: {idle}s,
          expect: {runs}s, warm_for: {idle}s}}
models:
  m: {{task: infer, backends: [home, burst], slo: {slo}s}}
prices:
  here: {{per_hour: 2.69, as_of: 2026-11-01, source: test}}
  flex: {{per_second: 0.00116, bills: [start, run, idle], as_of: 2026-11-01, source: test}}
{more}
"""
_KEY = "rp_stand_in"


class Setting(msgspec.Struct, frozen=True, kw_only=True):
    """What the policy says."""

    workers: int = 4
    runs_s: float = 2.0
    slo_s: float = 2.0
    p50_s: float = 4.0
    p95_s: float = 6.0
    idle_s: float = 5.0
    more: str = ""

    def text(self, port: int) -> str:
        """Of a policy whose platform is at the port."""
        return CONFIG.format(
            port=port, workers=self.workers, runs=self.runs_s, slo=self.slo_s, p50=self.p50_s,
            p95=self.p95_s, idle=self.idle_s, more=self.more,
        )  # fmt: skip


class Came(msgspec.Struct, frozen=True, kw_only=True):
    """What the calls came to."""

    billed: dict[str, float]
    """By the platform: US dollars by what its workers did."""
    reserved_usd: float
    charged_usd: float
    """What the ledger has of what the platform bills."""
    attainment: float
    at_home: int

    @property
    def usd(self) -> float:
        """Of both."""
        return self.billed_usd + self.reserved_usd

    @property
    def billed_usd(self) -> float:
        """By the platform, all together."""
        return sum(self.billed.values())


class _Answer(msgspec.Struct, frozen=True):
    delay_s: float | None
    """From asking until it ran; None: it did not."""
    backend: str
    asked: float
    """Monotonic seconds."""


async def live(folder: Path, traffic: Traffic, setting: Setting, seed: int) -> tuple[Came, Traffic]:
    """Through a gateway that runs; and the calls as they were made, for a client with much to do
    is late."""
    port = free_port()
    text = setting.text(port)
    gateway = LiveGateway(folder, text, env={"RUNPOD_API_KEY": _KEY})
    stand_in = StandIn(_policy(text).backends["burst"], seed)
    async with served(stand_in.application(), port):
        await asyncio.to_thread(gateway.start)
        try:
            answers = await _ask_all(gateway, traffic)
            # As long as the replay from the first call on: workers are kept to the end.
            lasts_s = traffic.judged_until - traffic.arrivals[0].at
            stand_in.until = answers[0].asked + lasts_s
            await asyncio.sleep(max(stand_in.until - time.monotonic(), 0.0))
        finally:
            await asyncio.to_thread(gateway.stop)
        stand_in.pool.end()
        # It writes what is left at its end, so it is asked after that.
        await asyncio.to_thread(gateway.start)
        try:
            charged = await _charged(gateway)
        finally:
            await asyncio.to_thread(gateway.stop)
    in_time = sum(one.delay_s is not None and one.delay_s <= setting.slo_s for one in answers)
    came = Came(
        billed={did: 0.00116 * seconds for did, seconds in stand_in.seconds.items()},
        reserved_usd=setting.workers * 2.69 * traffic.judged_s / 3600,
        charged_usd=charged,
        attainment=in_time / len(answers),
        at_home=sum(one.backend == "home" for one in answers),
    )
    return came, _as_made(traffic, answers)


def _as_made(traffic: Traffic, answers: list[_Answer]) -> Traffic:
    begins = answers[0].asked - traffic.arrivals[0].at
    made = [
        msgspec.structs.replace(one, at=answer.asked - begins)
        for one, answer in zip(traffic.arrivals, answers, strict=True)
    ]
    made.sort(key=lambda one: one.at)
    return msgspec.structs.replace(traffic, arrivals=made)


async def _ask_all(gateway: LiveGateway, traffic: Traffic) -> list[_Answer]:
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=200)
    async with gateway.async_client(limits=limits) as client:
        client.timeout = httpx.Timeout(300.0)
        await client.get("/healthz")  # the first connection takes longest
        first, begins = traffic.arrivals[0].at, time.monotonic() + 2.0
        return await asyncio.gather(
            *(_ask(client, one, begins + one.at - first) for one in traffic.arrivals)
        )


async def _ask(client: httpx.AsyncClient, arrival: Arrival, at: float) -> _Answer:
    await asyncio.sleep(at - time.monotonic())
    asked = time.monotonic()
    answer = await client.post("/v1/infer/m", json={"seconds": arrival.runs_s})
    backend = answer.headers.get("x-spillgate-backend", "")
    if answer.status_code != 200:
        return _Answer(None, backend, asked)
    return _Answer(answer.json()["began"] - asked, backend, asked)


async def _charged(gateway: LiveGateway) -> float:
    async with gateway.async_client(gateway.admin_key) as client:
        usage = (await client.get("/usage", params={"group_by": "backend"})).json()
    spent = (int(row["cost_nano"]) for row in usage["rows"] if row["backend"] == "burst")
    return sum(spent) / NANO


def replayed(traffic: Traffic, setting: Setting, seed: int) -> Came:
    """Through a replay."""
    found = play(_policy(setting.text(1)), traffic, Assumed(model="m", now=time.time()), seed=seed)
    outcome = found.outcome
    return Came(
        billed=found.billed,
        reserved_usd=outcome.reserved_usd,
        charged_usd=found.charged_usd,
        attainment=outcome.slo_attainment,
        at_home=found.backends.get("home", 0),
    )


def _policy(text: str) -> Policy:
    return read_policy_text(f"version: 1\n{text}", {"RUNPOD_API_KEY": _KEY})
