"""What is told of one call in five places is one story: the answer's headers, ``/usage/{id}``, the
access log, the metrics and the books."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from adapters.errors import BackendError, FailureClass
from adapters.fake import After, Outcome
from adapters.types import Chunk, Reply, Usage
from gateway.clock import FakeClock
from gateway.log_lines import LineWriter
from tests.gateway.assembled import AssembledGateway, assembled
from tests.gateway.pipes import Pipe

POLICY = """
version: 1
server: {tls: "off"}
backends:
  first: {kind: fake, price: seconds, cold_start: {p50: 1s, p95: 2s}, repeat: always}
  second: {kind: fake, price: seconds}
models:
  both: {task: chat, backends: [first, second], idempotent: true, slo: 60s}
  alone: {task: chat, backends: [first], slo: 60s}
prices: {seconds: {per_second: 0.001, bills: [start, run], as_of: 2026-11-01, source: test}}
routes: [{name: all, use: [first, second], order: listed}]
plans: {default: {spend: 500 USD/month, concurrent: 100}}
"""
RAN = Usage(queue_s=0.25, cold_s=0.5, exec_s=1.0, gpu_s=1.0, reported=True)
GOOD = After(1.75, Reply(body=b'{"choices": [{"message": {"content": "hi"}}]}', usage=RAN))
TOLD_ALONE = (FailureClass.TIMEOUT, FailureClass.QUOTA, FailureClass.SHORTAGE)
"""As the last word too."""
PIECE = Chunk(b'data: {"choices": [{"delta": {"content": "hi"}}]}\n\n', tokens=1)
LAST = Chunk(b"data: [DONE]\n\n", "done", RAN)
CUT = BackendError(FailureClass.TRUNCATED, "it broke off", usage=RAN)
STREAMS: dict[str, list[Chunk | BackendError]] = {
    "stream that ends": [PIECE, LAST],
    "stream that is cut": [PIECE, CUT],
    "stream that fails at once": [BackendError(FailureClass.OVERLOADED, "no room"), LAST],
}


def fails(kind: FailureClass, *, ran: bool = False) -> BackendError:
    return BackendError(kind, f"it said {kind.slug}", usage=RAN if ran else None)


def cases() -> dict[str, tuple[str, list[Outcome], bool]]:
    """Name -> the model, what the first backend comes to, and whether it is a stream."""
    found: dict[str, tuple[str, list[Outcome], bool]] = {"well": ("both", [GOOD], False)}
    for kind in FailureClass:
        for model in ("both", "alone") if kind in TOLD_ALONE else ("both",):
            found[f"{kind.slug}, {model}"] = (model, [After(0.5, fails(kind))], False)
    found["failed and billed"] = ("both", [After(0.5, fails(FailureClass.FAILED, ran=True))], False)
    for name, pieces in STREAMS.items():
        found[name] = ("both", [pieces], True)
        found[f"{name}, alone"] = ("alone", [pieces], True)
    return found


CASES = cases()


class Books:
    """A gateway, and all that it says of its calls."""

    def __init__(self, gateway: AssembledGateway, client: httpx.AsyncClient, pipe: Pipe) -> None:
        self.gateway = gateway
        self.client = client
        self._pipe = pipe
        self._writer = LineWriter(pipe)
        gateway.inner.access_log._writer = self._writer

    async def call(self, model: str, *, stream: bool) -> httpx.Response:
        said = {"role": "user", "content": "hi"}
        asked = {"model": model, "messages": [said], "stream": stream, "max_tokens": 5}
        asking = asyncio.ensure_future(self.client.post("/v1/chat/completions", json=asked))
        await self.gateway.until_done([asking], step=0.05)
        return asking.result()

    async def metrics(self) -> dict[str, float]:
        text = (await self.client.get("/metrics")).text
        lines = [line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#")]
        return {name: float(value) for name, value in lines}

    def lines(self) -> list[dict[str, Any]]:
        self.gateway.inner.access_log.hand_over()
        self._writer.close()
        return [json.loads(line) for line in self._pipe.lines]


def sum_of(metrics: dict[str, float], family: str, **labels: str) -> float:
    wanted = [f'{name}="{value}"' for name, value in labels.items()]
    return sum(
        value
        for name, value in metrics.items()
        if name.startswith(family + "{") and all(one in name for one in wanted)
    )


def timing(answer: httpx.Response) -> dict[str, float]:
    found = re.findall(r"(\w+);dur=([\d.]+)", answer.headers.get("server-timing", ""))
    return {name: float(ms) / 1000 for name, ms in found}


@pytest.mark.parametrize("case", CASES)
async def test_one_call_is_one_story(case: str, tmp_path: Path, clock: FakeClock) -> None:
    model, outcomes, stream = CASES[case]
    pipe = Pipe()
    async with assembled(tmp_path, clock, POLICY) as gateway, gateway.client() as client:
        books = Books(gateway, client, pipe)
        gateway.fake("first").tell(*outcomes)
        gateway.fake("second").tell([PIECE, LAST] if stream else GOOD)
        answer = await books.call(model, stream=stream)
        id = answer.headers["x-request-id"]
        told = (await client.get(f"/usage/{id}")).json()
        metrics = await books.metrics()
        rows = await gateway.rows(id)
        [line] = [one for one in books.lines() if one["id"] == id]

    failures = [one for one in told["attempts"] if one["outcome"] != "cancelled"]
    cost = sum(row.cost_nano for row in rows)
    assert told["total_cost_nano"] == line.get("cost_nano", 0) == cost
    assert round(sum_of(metrics, "spillgate_cost_usd_total") * 1e9) == cost
    assert (told["outcome"], told["error"]) == (line["outcome"], line.get("error", ""))
    assert told["backend"] == line["backend"] == answer.headers["x-spillgate-backend"]
    assert told["reason"] == line["reason"] == answer.headers["x-spillgate-reason"]
    assert told["status"] == line["status"]
    ended = {"model": model, "backend": told["backend"], "outcome": told["outcome"]}
    assert sum_of(metrics, "spillgate_calls_total", **ended) == 1
    assert sum_of(metrics, "spillgate_calls_total") == 1
    assert line.get("attempts", 0) == len(failures)
    blamed = [one for one in failures if one["error"] != FailureClass.SHORTAGE.slug]
    for one in blamed:
        seen = {"backend": one["backend"], "failure": one["error"]}
        assert sum_of(metrics, "spillgate_backend_failures_total", **seen) == 1
    assert sum_of(metrics, "spillgate_backend_failures_total") == len(blamed)
    assert all(one["message"] for one in failures)
    gpu = sum(row.gpu_us for row in rows) / 1e6
    assert sum_of(metrics, "spillgate_gpu_seconds_total") == pytest.approx(gpu)
    assert line["exec_ms"] == pytest.approx(told["exec_seconds"] * 1000)
    if not stream:
        assert answer.status_code == told["status"]
        charged = float(answer.headers["x-spillgate-cost"])
        assert charged == pytest.approx(cost / 1e9, abs=1e-9)
    if answer.is_success and not stream:
        spent = timing(answer)
        assert spent["exec"] == pytest.approx(told["exec_seconds"], abs=0.001)
        assert spent["queue"] == pytest.approx(told["queue_seconds"], abs=0.001)
        assert spent["cold"] == pytest.approx(told["cold_seconds"], abs=0.001)
        earlier = sum(one["seconds"] for one in told["attempts"])
        assert spent.get("earlier", 0.0) == pytest.approx(earlier, abs=0.06)
        assert sum(spent.values()) == pytest.approx(line["ms"] / 1000, abs=0.11)
    if not answer.is_success:
        error = msgspec.json.decode(answer.content)["error"]
        assert error["message"]
        assert told["error"]
