"""A month of a gateway with a reserved machine and three platforms behind it: six teams, days and
nights, a batch that somebody began yesterday, failures, cold starts, idle hours. Made up."""

from __future__ import annotations

import contextlib
import datetime
import math
import random
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from gateway.storage.base import LedgerRow, Outcome
from gateway.storage.history import AttemptRecord, CallHistory, PriceRecord, QuoteRecord, SeenRecord
from gateway.storage.rows import COLUMNS, encode_settled
from gateway.storage.sqlite.ledger import SqliteLedger
from gateway.storage.sqlite.rows import connect
from gateway.types import MICRO, NANO

DAYS = 30
_DAY_S = 86_400
_HOUR_S = 3_600
_PAGE = 5_000
_SLOTS = 2
_POD_SECOND = 2.69 / _HOUR_S / _SLOTS
_FULL = 1.5
"""So many times the mean load fill the reserved machine; what comes beyond it spills."""
_BATCH = 1.3
"""So much more there was to do yesterday, when somebody began a batch."""


class _User(NamedTuple):
    name: str
    team: str
    weight: float
    models: tuple[str, ...]
    plan: str = "default"


class _Platform(NamedTuple):
    name: str
    price: str
    per_second: float
    cold_s: float


_USERS = (
    _User("search-api", "search", 34, ("minilm", "minilm", "minilm", "llama-70b"), "gold"),
    _User("support-bot", "support", 18, ("llama-70b",), "gold"),
    _User("alice", "nlp", 9, ("llama-70b", "minilm")),
    _User("bob", "nlp", 6, ("llama-70b",)),
    _User("carol", "images", 5, ("flux-dev",)),
    _User("nightly-batch", "search", 12, ("minilm",), "batch"),
    _User("dave", "research", 3, ("llama-70b", "flux-dev")),
    _User("eve", "research", 2, ("minilm", "llama-70b")),
)
_RUNS = {"minilm": 1.4, "llama-70b": 34.0, "flux-dev": 61.0}
_TOKENS = {"minilm": (9_000, 0), "llama-70b": (4_100, 1_460), "flux-dev": (40, 0)}
_TASKS = {"minilm": "embeddings", "llama-70b": "chat", "flux-dev": "infer"}
_PLATFORMS = (
    _Platform("runpod-flex", "runpod-h100-flex", 0.00116, 11.0),
    _Platform("modal-spare", "modal-h100", 0.001097, 14.0),
    _Platform("replicate-eu", "replicate-h100", 0.001525, 38.0),
)
_ERRORS = ("backend_timeout", "backend_overloaded", "context_length_exceeded", "backend_failed")

POLICY = """
backends:
  h100-pod: {kind: http, base_url: "http://127.0.0.1:9", slots: 2, price: own-h100}
  runpod-flex: {kind: http, base_url: "http://127.0.0.1:9", price: runpod-h100-flex, cold_start: {p50: 11s, p95: 24s}, idle_timeout: 5s, max_run: 15m}
  modal-spare: {kind: http, base_url: "http://127.0.0.1:9", price: modal-h100, cold_start: {p50: 14s, p95: 19s}, idle_timeout: 60s, max_run: 15m}
  replicate-eu: {kind: http, base_url: "http://127.0.0.1:9", price: replicate-h100, cold_start: {p50: 38s, p95: 70s}, idle_timeout: 60s, max_run: 15m}
models:
  minilm: {task: embeddings, backends: [h100-pod, runpod-flex], slo: 2s}
  llama-70b: {task: chat, backends: [h100-pod, runpod-flex, modal-spare], slo: 2s}
  flux-dev: {task: infer, backends: [h100-pod, replicate-eu, modal-spare], slo: 20s}
prices:
  own-h100: {per_hour: 2.69, as_of: 2026-11-09, source: "the invoice"}
  runpod-h100-flex: {per_second: 0.00116, bills: [start, run], as_of: 2026-11-08, source: "RunPod documentation"}
  modal-h100: {per_second: 0.001097, bills: [start, run, idle], as_of: 2026-11-08, source: "Modal pricing"}
  replicate-h100: {per_second: 0.001525, as_of: 2026-11-08, source: "Replicate pricing"}
routes:
  - {name: gold, when: {plan: gold}, use: [h100-pod, runpod-flex, modal-spare, replicate-eu], order: fastest}
  - {name: default, use: [h100-pod, runpod-flex, modal-spare, replicate-eu], order: cheapest, max_price: 0.05}
plans:
  default: {requests: 600/minute, spend: 400 USD/month}
  gold: {requests: 6000/minute, spend: 4000 USD/month}
  batch: {requests: 600/minute, spend: 200 USD/month}
limits:
  spend: 6000 USD/month
"""  # noqa: E501


def rows_of_month(rows: int, now: float, seed: int = 7) -> Iterator[LedgerRow]:
    """Some ``rows`` of them, oldest first, until ``now``."""
    random_source = random.Random(seed)
    began = (now // _HOUR_S - DAYS * 24) * _HOUR_S
    hours = [began + at * _HOUR_S for at in range(DAYS * 24 + 1)]
    weights = [_busy(hour) for hour in hours]
    each, mean = rows * 0.985 / sum(weights), sum(weights) / len(weights)
    number = 0
    for hour, weight in zip(hours, weights, strict=True):
        until = min(now, hour + _HOUR_S)
        calls = round(weight * each * (until - hour) / _HOUR_S)
        instants = sorted(random_source.uniform(hour, until) for _ in range(calls))
        yesterday = _DAY_S <= now // _DAY_S * _DAY_S + _DAY_S - hour < 2 * _DAY_S
        for at in instants:
            number += 1
            load = weight / mean * (_BATCH if yesterday else 1)
            yield from _call(random_source, number, at, load, yesterday)
        yield from _unused(hour, until, weight / mean)


def _busy(hour: float) -> float:
    """How busy an hour of the week is, around 1."""
    at = datetime.datetime.fromtimestamp(hour, datetime.UTC)
    day = math.exp(-(((at.hour + 0.5 - 10.5) / 3.2) ** 2)) + 0.8 * math.exp(
        -(((at.hour + 0.5 - 16) / 3.0) ** 2)
    )
    ripple = 1 + 0.18 * math.sin(hour / 7_919) + 0.1 * math.sin(hour / 2_311)
    return (0.22 + day) * (0.8 if at.weekday() >= 5 else 1.0) * ripple


def _call(
    draw: random.Random, number: int, at: float, load: float, yesterday: bool
) -> Iterator[LedgerRow]:
    user = draw.choices(_USERS, [one.weight for one in _USERS])[0]
    if yesterday and draw.random() < 0.22:
        user = next(one for one in _USERS if one.name == "dave")
    model = draw.choice(user.models)
    spilled = draw.random() < max(0.006, 1 - _FULL / load)
    platform = draw.choices(_PLATFORMS, (6, 3, 1))[0]
    if model == "flux-dev":
        platform = _PLATFORMS[2] if draw.random() < 0.5 else _PLATFORMS[1]
    run_s = draw.lognormvariate(math.log(_RUNS[model]), 0.45)
    cold_s = 0.0
    if spilled and draw.random() < (0.3 if load < 1.2 * _FULL else 0.1):
        cold_s = draw.lognormvariate(math.log(platform.cold_s), 0.25)
    failed = draw.random() < (0.012 if spilled else 0.002)
    queue_s = draw.expovariate(1 / (0.02 + 0.3 * max(0.0, load - 1)))
    rate = platform.per_second if spilled else _POD_SECOND
    seconds = run_s + cold_s
    cost = 0.0 if failed else rate * seconds
    tokens_in, tokens_out = _TOKENS[model]
    id = f"req_{int(at * 1_000):012x}{number:012x}"
    backend = platform.name if spilled else "h100-pod"
    outcome: Outcome = "error" if failed else "success"
    yield LedgerRow(
        id=id,
        outcome=outcome,
        started_at=at,
        ended_at=at + queue_s + cold_s + run_s,
        key_id=f"key_{user.name}",
        user=user.name,
        plan=user.plan,
        tags={"team": user.team},
        model=model,
        task=_TASKS[model],
        backend=backend,
        reason=("SPILL_COLD" if cold_s else "SPILL_WARM") if spilled else "RES_FREE",
        route="gold" if user.plan == "gold" else "default",
        policy="7c21f0a9d3e4",
        status=504 if failed else 200,
        error=draw.choice(_ERRORS) if failed else "",
        stream=model == "llama-70b",
        input_tokens=round(tokens_in * draw.lognormvariate(0, 0.5)),
        output_tokens=0 if failed else round(tokens_out * draw.lognormvariate(0, 0.5)),
        queue_us=round(queue_s * MICRO),
        cold_us=round(cold_s * MICRO),
        exec_us=round(run_s * MICRO),
        gpu_us=round(run_s * MICRO),
        hold_nano=round(cost * 3 * NANO),
        cost_nano=round(cost * NANO),
        cost_basis="estimated" if spilled else "reported",
        price=platform.price if spilled else "own-h100",
        history=_history(draw, platform, spilled, failed, run_s, cold_s, rate),
    )


def _history(
    draw: random.Random,
    platform: _Platform,
    spilled: bool,
    failed: bool,
    run_s: float,
    cold_s: float,
    rate: float,
) -> CallHistory:
    """What was decided. Only of what spilled, to keep the file small."""
    price = PriceRecord(
        "a1b2c3d4e5f6", "2026-11-08", "start,run", {"per_second": round(rate * NANO)}
    )
    if not spilled:
        return CallHistory(slo_s=2.0, price=price)
    nano = round(rate * run_s * NANO)
    waits_s = draw.uniform(2.4, 9.0)
    seen = SeenRecord(_SLOTS + 3, _SLOTS, 0, None, 0.0, run_s, 0.8, None, None, 0.0, 0.0)
    warm = SeenRecord(
        2,
        None,
        0 if cold_s else 2,
        None,
        0.0,
        run_s,
        0.4,
        platform.cold_s,
        platform.cold_s * 2,
        0,
        0,
    )
    attempts: tuple[AttemptRecord, ...] = ()
    before: tuple[QuoteRecord, ...] = ()
    spare = next(one for one in _PLATFORMS if one is not platform)
    if draw.random() < 0.1 or failed:
        attempts = (
            AttemptRecord(spare.name, "overloaded", "503: no room for one more", 0.012, 0.201),
        )
        near = round(nano * spare.per_second / platform.per_second)
        one = SeenRecord(3, None, 1, None, 0.0, run_s, 0.4, spare.cold_s, spare.cold_s * 2, 0, 0)
        before = (QuoteRecord(spare.name, 0.2, False, 0, False, near, near, near * 3, one),)
    return CallHistory(
        slo_s=2.0,
        quotes=(
            *before,
            QuoteRecord(
                platform.name, 0.3 + cold_s, cold_s > 0, 0, False, nano, nano, nano * 3, warm
            ),
            QuoteRecord("h100-pod", waits_s, False, 0.0, True, 0, nano // 4, nano, seen),
            *(() if before else _spare(spare, nano, run_s)),
        ),
        refused=() if platform.name == "replicate-eu" else (("replicate-eu", "over_max_price"),),
        attempts=attempts,
        price=price,
    )  # fmt: skip


def _spare(spare: _Platform, nano: int, run_s: float) -> Iterator[QuoteRecord]:
    """A backend that nobody had to ask: it sleeps."""
    cold_s = spare.cold_s
    seen = SeenRecord(0, None, 0, None, 0.0, run_s, 0.4, cold_s, cold_s * 2, 0, 0)
    dear = round(nano * (run_s + cold_s) / run_s)
    yield QuoteRecord(spare.name, cold_s + 0.4, True, 0, False, dear, dear, dear * 3, seen)


def _unused(hour: float, until: float, load: float) -> Iterator[LedgerRow]:
    """What nobody used of the reserved machine, and the pings that kept a platform warm."""
    idle = max(0.03, 1 - load / _FULL / 1.04) * 2.69 * (until - hour) / _HOUR_S
    yield _own(f"idle_pod_{int(hour)}", "idle", hour, until, "h100-pod", idle)
    if datetime.datetime.fromtimestamp(hour, datetime.UTC).hour in range(7, 19):
        name = f"ping_{int(hour)}"
        yield _own(name, "ping", hour + 60, hour + 62, "modal-spare", 0.034)


def _own(id: str, kind: str, at: float, until: float, backend: str, cost: float) -> LedgerRow:
    is_idle = kind == "idle"
    return LedgerRow(
        id=id,
        kind="idle" if is_idle else "ping",
        outcome="success" if is_idle else "ping",
        started_at=at,
        ended_at=until,
        key_id="system:idle" if is_idle else "system:warm-pool",
        user="system:idle" if is_idle else "system:warm-pool",
        model="",
        task="idle" if is_idle else "ping",
        backend=backend,
        reason="committed" if is_idle else "hours",
        policy="7c21f0a9d3e4",
        gpu_us=0 if is_idle else round(cost / 0.001097 * MICRO),
        cost_nano=round(cost * NANO),
        cost_basis="reported",
        price="own-h100" if is_idle else "modal-h100",
    )


async def fill(path: Path, rows: int, now: float) -> int:
    """Writes a month's rows into a ledger's file and rolls them up; how many there are."""
    await SqliteLedger(path).aclose()
    written, rest = 0, rows_of_month(rows, now)
    marks = ", ".join("?" for _ in COLUMNS)
    with contextlib.closing(connect(path)) as connection:
        while page := list(islice(rest, _PAGE)):
            connection.execute("BEGIN")
            connection.executemany(
                f"INSERT INTO entries ({', '.join(COLUMNS)}) VALUES ({marks})",
                [encode_settled(row) for row in page],
            )
            connection.execute("COMMIT")
            written += len(page)
    return written
