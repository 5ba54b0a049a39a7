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

from adapters.errors import BackendError, FailureClass, Ran
from adapters.fake import After, Outcome
from adapters.types import Chunk, Reply, Usage
from gateway.clock import FakeClock
from gateway.log_lines import LineWriter
from gateway.storage.base import LedgerRow
from tests.gateway.assembled import AssembledGateway, assembled
from tests.gateway.doors.raw import HangUp
from tests.gateway.jobs.gateways import with_jobs
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


class Story(msgspec.Struct, frozen=True):
    """One call in ``/usage/{id}``, the ledger, the access log and the metrics."""

    told: dict[str, Any]
    rows: list[LedgerRow]
    line: dict[str, Any]
    metrics: dict[str, float]

    @property
    def cost_nano(self) -> int:
        return sum(row.cost_nano for row in self.rows)

    def is_one(self) -> None:
        """They agree, and tell of no other call."""
        told, line, metrics = self.told, self.line, self.metrics
        failures = [one for one in told["attempts"] if one["outcome"] != "cancelled"]
        assert told["total_cost_nano"] == line.get("cost_nano", 0) == self.cost_nano
        spent = round(sum_of(metrics, "spillgate_cost_usd_total") * 1e9)
        assert spent == self.cost_nano
        assert (told["outcome"], told["error"]) == (line["outcome"], line.get("error", ""))
        assert told["backend"] == line["backend"]
        assert told["reason"] == line["reason"]
        assert told["status"] == line["status"]
        of_it = {"backend": told["backend"], "outcome": told["outcome"]}
        assert sum_of(metrics, "spillgate_calls_total", **of_it) == 1
        assert sum_of(metrics, "spillgate_calls_total") == 1
        assert line.get("attempts", 0) == len(failures)
        blamed = [one for one in failures if one["error"] != FailureClass.SHORTAGE.slug]
        for one in blamed:
            seen = {"backend": one["backend"], "failure": one["error"]}
            assert sum_of(metrics, "spillgate_backend_failures_total", **seen) == 1
        assert sum_of(metrics, "spillgate_backend_failures_total") == len(blamed)
        assert all(one["message"] for one in failures)
        gpu = sum(row.gpu_us for row in self.rows) / 1e6
        assert sum_of(metrics, "spillgate_gpu_seconds_total") == pytest.approx(gpu)
        assert line["exec_ms"] == pytest.approx(told["exec_seconds"] * 1000)


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

    async def story(self, id: str) -> Story:
        """What all of them say of one call."""
        told = (await self.client.get(f"/usage/{id}")).json()
        metrics = await self.metrics()
        rows = await self.gateway.rows(id)
        [line] = [one for one in self.lines() if one["id"] == id]
        return Story(told, rows, line, metrics)

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
    async with assembled(tmp_path, clock, POLICY) as gateway, gateway.client() as client:
        books = Books(gateway, client, Pipe())
        gateway.fake("first").tell(*outcomes)
        gateway.fake("second").tell([PIECE, LAST] if stream else GOOD)
        answer = await books.call(model, stream=stream)
        story = await books.story(answer.headers["x-request-id"])

    story.is_one()
    agrees(answer, story, stream=stream)


def agrees(answer: httpx.Response, story: Story, *, stream: bool) -> None:
    """What the caller was told is the same."""
    told, line = story.told, story.line
    assert told["backend"] == answer.headers["x-spillgate-backend"]
    assert told["reason"] == answer.headers["x-spillgate-reason"]
    if not stream:
        assert answer.status_code == told["status"]
        charged = float(answer.headers["x-spillgate-cost"])
        assert charged == pytest.approx(story.cost_nano / 1e9, abs=1e-9)
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


# --- calls that end otherwise ---------------------------------------------------------------------


@pytest.mark.parametrize("slow", [GOOD.outcome, fails(FailureClass.FAILED, ran=True)])
async def test_a_call_at_two_backends_is_one_story(
    slow: Reply | BackendError, tmp_path: Path, clock: FakeClock
) -> None:
    text = POLICY.replace("price: seconds}", "price: seconds, repeat: always}")
    text = text.replace("order: listed", "order: listed, hedge: {after: 1s, share: 100}")
    async with assembled(tmp_path, clock, text) as gateway, gateway.client() as client:
        books = Books(gateway, client, Pipe())
        gateway.fake("first").tell(After(30.0 if isinstance(slow, Reply) else 4.0, slow))
        gateway.fake("second").tell(GOOD)
        answer = await books.call("both", stream=False)
        story = await books.story(answer.headers["x-request-id"])

    story.is_one()
    assert story.told["backend"] == answer.headers["x-spillgate-backend"] == "second"
    [other] = story.told["attempts"]
    assert other["cost_nano"] > 0
    charged = float(answer.headers["x-spillgate-cost"])
    assert charged == pytest.approx(story.cost_nano / 1e9, abs=1e-9)


@pytest.mark.parametrize("after_s", [0.5, 4.0])
@pytest.mark.parametrize("stream", [False, True])
async def test_a_call_whose_caller_hangs_up_is_one_story(
    after_s: float, stream: bool, tmp_path: Path, clock: FakeClock
) -> None:
    """At the first backend, or at the second after the first has failed."""
    async with assembled(tmp_path, clock, POLICY) as gateway, gateway.client() as client:
        books = Books(gateway, client, Pipe())
        gateway.fake("first").tell(After(2.0, fails(FailureClass.FAILED, ran=True)))
        gateway.fake("second").runs_for = 60.0
        body = {"model": "both", "messages": [{"role": "user", "content": "hi"}], "stream": stream}
        caller = HangUp(gateway.inner, "/v1/chat/completions", gateway.key(), body)
        await gateway.until_asked("first")
        for _ in range(round(after_s / 0.25)):
            await clock.advance(0.25)
            await asyncio.sleep(0.001)
        caller.leave()
        await gateway.until_done([caller.request], step=0.25)
        story = await books.story(gateway.fake("first").calls[0].id)

    story.is_one()
    assert (story.told["outcome"], story.told["status"]) == ("disconnected", 499)
    assert story.cost_nano > 0
    assert len(story.told["attempts"]) == (after_s > 2.0)


REFUSED = {
    "no json": (400, "invalid_json", b"{", "", ""),
    "no such model": (
        404,
        "model_not_found",
        b'{"model":"other","messages":[{"role":"user","content":"hi"}]}',
        "",
        "",
    ),
    "no key": (401, "invalid_api_key", b"{}", "sk-nobody", ""),
    "no money": (402, "budget_exhausted", b"", "", "spend: 0.000001 USD/month"),
    "too often": (429, "rate_limit_exceeded", b"", "", "requests: 1/hour"),
}


@pytest.mark.parametrize("case", REFUSED)
async def test_a_call_that_is_refused_is_the_same_story_everywhere(
    case: str, tmp_path: Path, clock: FakeClock
) -> None:
    status, code, body, key, plan = REFUSED[case]
    text = POLICY.replace("plans: {default: {", f"plans: {{tight: {{{plan}}}, default: {{")
    if not plan:
        text = POLICY
    asked = body or b'{"model":"alone","messages":[{"role":"user","content":"hi"}]}'
    async with assembled(tmp_path, clock, text) as gateway, gateway.client() as client:
        books = Books(gateway, client, Pipe())
        key = key or gateway.key("bob", plan="tight" if plan else "default")
        headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        for _ in range(1 + (status == 429)):
            before = await books.metrics()
            path = "/v1/chat/completions"
            answer = await client.post(path, content=asked, headers=headers)
        id = answer.headers["x-request-id"]
        told = await client.get(f"/usage/{id}")
        after = await books.metrics()
        rows = await gateway.rows(id)
        [line] = [one for one in books.lines() if one["id"] == id]

    assert answer.status_code == line["status"] == status
    assert answer.json()["error"]["code"] == line["error"] == code
    assert (told.status_code, rows, line.get("cost_nano", 0)) == (404, [], 0)
    for family in ("spillgate_calls_total", "spillgate_cost_usd_total"):
        assert sum_of(after, family) == sum_of(before, family)
    assert answer.headers.get("x-spillgate-cost", "0") in ("0", "0.0")


@pytest.mark.parametrize("kind", [None, *(one for one in FailureClass if one.ran is not Ran.NO)])
async def test_a_durable_job_is_one_story(
    kind: FailureClass | None, tmp_path: Path, clock: FakeClock
) -> None:
    async with with_jobs(tmp_path, clock, text=POLICY) as gateway, gateway.client() as client:
        books = Books(gateway, client, Pipe())
        gateway.fake("first").tell(GOOD if kind is None else After(0.5, fails(kind, ran=True)))
        gateway.fake("second").tell(GOOD)
        said = {"messages": [{"role": "user", "content": "hi"}]}
        id = (await gateway.post(client, "both", input=said))["id"]
        job = await gateway.until_ended(id)
        shown = (await client.get(f"/v1/jobs/{id}")).json()
        story = await books.story(id)

    story.is_one()
    assert job.state == shown["state"] == "succeeded"
    assert job.cost_nano == story.cost_nano
    assert float(shown["cost_usd"]) == pytest.approx(story.cost_nano / 1e9)
    assert story.told["backend"] == ("first" if kind is None else "second")
    assert len(story.told["attempts"]) == (kind is not None)
