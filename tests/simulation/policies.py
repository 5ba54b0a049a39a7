"""What is configured: one policy with knobs, which a seed turns and its reloads turn again."""

from __future__ import annotations

import random
from functools import lru_cache
from typing import cast

import msgspec

from adapters.base import AdapterClass
from gateway.policy.model import Policy
from gateway.policy.reader import Kinds, read_policy_text
from gateway.types import NANO, Principal
from tests.gateway.events.receivers import SECRET
from tests.simulation.platforms import SimulatedBackend

KINDS = Kinds(
    load=lambda kind: cast(AdapterClass, {"simulated": SimulatedBackend}[kind]),
    known=lambda: ["simulated"],
)

_TEXT = """
version: 1
server: {{tls: "off", access_log: false}}
backends:
  home: {{kind: simulated, slots: 2, runs_for: 1, stoppable: false, price: reserved, expect: 1s,
         max_run: 20s}}
  burst: {{kind: simulated, runs_for: 2, price: flex, cold_start: {{p50: 1s, p95: 4s}},
          idle_timeout: 20s, expect: 1s, max_run: {max_run}s, start_paid_by: {start}}}
  tokens: {{kind: simulated, runs_for: 1, price: by-token, expect: 1s, max_run: 20s,
           concurrency: {at_once}}}
  fee: {{kind: simulated, runs_for: 0.5, price: by-call, expect: 1s, max_run: 10s,
        stoppable: false}}
  free: {{kind: simulated, slots: 1, runs_for: 0.5, expect: 1s, max_run: 10s}}
{depot}models:
  chat: {{task: chat, backends: [{chat}], slo: 3s, max_output_tokens: 40}}
  any: {{task: infer, backends: [{any}], slo: 3s}}
  far: {{task: infer, backends: [burst, fee], slo: 20s}}
  near: {{task: infer, backends: [home, free], slo: 3s}}
{work}prices:
  reserved: {{per_hour: 36, as_of: 2026-11-01, source: test}}
  flex: {{per_second: {per_second}, bills: [start, run], as_of: 2026-11-01, source: test}}
  by-token: {{per_million_input: 1000, per_million_output: 3000, as_of: 2026-11-01, source: test}}
  by-call: {{per_call: 0.05, as_of: 2026-11-01, source: test}}
  by-run: {{per_second: 0.01, bills: [run], as_of: 2026-11-01, source: test}}
plans:
  default:
    requests: 1000/minute
    concurrent: {concurrent}
    gpu_seconds: {gpu_seconds}/day
    spend: {user_usd} USD/day
{shared}
{gateway}
{committed}
{routes}
{told}
"""
_HEDGED = """routes:
  - name: default
    use: [home, burst, tokens, fee, free{more}]
    idempotent: true
    repeat: always
    hedge: {{after: {after}ms, share: 100}}
"""
_DEPOT = "  depot: {kind: simulated, price: by-run, expect: 2s, max_run: 30s}\n"
_WORK = """  work: {task: infer, backends: [depot], slo: 20s}
  both: {task: infer, backends: [home, depot], slo: 3s}
"""
_TOLD = 'webhooks: {jobs: {secret: "${SECRET}"}}'
"""Of days that have jobs."""
_COMMITTED = """commitments:
  machine: {{backend: home, per_hour: {hourly_usd}, start: "2026-01-01T11:00Z", {idle}}}
"""
HOURLY_USD = 36
"""What the machine is paid for, whether or not anybody calls."""
_IDLE = {
    "overhead": "idle: overhead",
    "by_use": "idle: by_use",
    "by_reservation": "idle: by_reservation, shares: {alice: 2, bob: 1}",
}
"""Who is charged for what nobody used of it."""


class Knobs(msgspec.Struct, frozen=True, kw_only=True):
    """What differs from one policy to the next."""

    user_usd: float = 2.0
    plan_usd: float | None = None
    gateway_usd: float | None = None
    per_second: float = 0.01
    concurrent: int = 6
    gpu_seconds: int = 400
    at_once: int = 4
    max_run: int = 20
    reverse: bool = False
    idle: str = ""
    """Of the machine that is paid for by the hour; empty: nobody pays for it so."""
    start: str = "to_cause"
    hedge_after_ms: int = 0
    """0: calls are at one backend at a time."""
    burst_usd: float | None = None
    """What all calls together may cost there a day."""
    jobs: bool = False
    """There is a platform that has jobs, and whoever asks for them."""

    def policy(self) -> Policy:
        """As a file would be read."""
        return _read(self)

    def caps(self) -> dict[str, int]:
        """Scope -> nano-dollars a day, of the scopes that are limited."""
        caps = {f"user:{one.user}": round(self.user_usd * NANO) for one in PEOPLE}
        if self.plan_usd is not None:
            caps["plan:default"] = round(self.plan_usd * NANO)
        if self.gateway_usd is not None:
            caps["gateway"] = round(self.gateway_usd * NANO)
        if self.burst_usd is not None:
            caps["backend:burst"] = round(self.burst_usd * NANO)
        return caps


PEOPLE = tuple(
    Principal(key_id=f"key_{user}{number}", user=user, plan="default")
    for user in ("alice", "bob")
    for number in range(2)
)


@lru_cache(maxsize=4096)
def _read(knobs: Knobs) -> Policy:
    def order(*names: str) -> str:
        return ", ".join(reversed(names) if knobs.reverse else names)

    shared = f"    shared: {{spend: {knobs.plan_usd} USD/day}}" if knobs.plan_usd else ""
    whole = f"spend: {knobs.gateway_usd} USD/day, " if knobs.gateway_usd else ""
    own = f"backends: {{burst: {{spend: {knobs.burst_usd} USD/day}}}}" if knobs.burst_usd else ""
    gateway = f"limits: {{{whole}{own}}}" if whole or own else ""
    text = _TEXT.format(
        max_run=knobs.max_run,
        at_once=knobs.at_once,
        per_second=knobs.per_second,
        concurrent=knobs.concurrent,
        gpu_seconds=knobs.gpu_seconds,
        user_usd=knobs.user_usd,
        shared=shared,
        gateway=gateway,
        chat=order("home", "tokens", "burst"),
        any=order("home", "burst", "fee", "tokens"),
        start=knobs.start,
        depot=_DEPOT if knobs.jobs else "",
        work=_WORK if knobs.jobs else "",
        told=_TOLD if knobs.jobs else "",
        committed=_COMMITTED.format(hourly_usd=HOURLY_USD, idle=_IDLE[knobs.idle])
        if knobs.idle
        else "",
        routes=_HEDGED.format(after=knobs.hedge_after_ms, more=", depot" if knobs.jobs else "")
        if knobs.hedge_after_ms
        else "",
    )
    return read_policy_text(text, {"SECRET": SECRET}, kinds=KINDS)


def drawn(draw: random.Random) -> Knobs:
    """A first policy."""
    return Knobs(
        user_usd=draw.choice((0.2, 0.5, 1.0, 4.0)),
        plan_usd=draw.choice((None, 0.4, 1.5)),
        gateway_usd=draw.choice((None, 0.6, 3.0)),
        concurrent=draw.choice((1, 3, 8)),
        gpu_seconds=draw.choice((30, 400)),
        at_once=draw.choice((1, 4)),
        reverse=draw.random() < 0.5,
    )


def paid_by(knobs: Knobs, draw: random.Random) -> Knobs:
    """Who pays for what nobody used; in every fourth day a machine is paid for by the hour."""
    idle = draw.choice(tuple(_IDLE)) if draw.random() < 0.25 else ""
    return msgspec.structs.replace(knobs, idle=idle, start=draw.choice(("to_cause", "overhead")))


def hedged(knobs: Knobs, draw: random.Random) -> Knobs:
    """Slow calls of every third day are asked of a second backend as well."""
    after_ms = draw.choice((100, 700, 2000)) if draw.random() < 0.33 else 0
    return msgspec.structs.replace(knobs, hedge_after_ms=after_ms)


def limited(knobs: Knobs, draw: random.Random) -> Knobs:
    """In every third day a backend has a limit of its own, which no reload changes."""
    burst_usd = draw.choice((0.05, 0.2, 1.0)) if draw.random() < 0.33 else None
    return msgspec.structs.replace(knobs, burst_usd=burst_usd)


def changed(knobs: Knobs, draw: random.Random) -> Knobs:
    """Another knob turned."""
    turns: tuple[dict[str, object], ...] = (
        {"user_usd": draw.choice((0.1, 0.3, 2.0))},
        {"plan_usd": draw.choice((None, 0.2, 0.8, 2.0))},
        {"gateway_usd": draw.choice((None, 0.3, 1.0))},
        {"per_second": draw.choice((0.002, 0.01, 0.05))},
        {"concurrent": draw.choice((1, 2, 8))},
        {"at_once": draw.choice((1, 2, 4))},
        {"max_run": draw.choice((10, 20))},
        {"reverse": not knobs.reverse},
    )
    return msgspec.structs.replace(knobs, **draw.choice(turns))
