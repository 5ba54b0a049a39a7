"""How much more is held, and how much more is told as taken, than is settled, on a mix of calls: by
the metrics, the rows and the page."""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from adapters.errors import BackendError, FailureClass
from adapters.types import Chunk, Reply, Usage
from gateway.clock import FakeClock
from gateway.storage.queries import CallsQuery, UsageQuery
from gateway.types import NANO
from tests.gateway.assembled import AssembledGateway, assembled

PAGE = (Path(__file__).parents[4] / "docs" / "money.md").read_text()
CALLS = 40
"""Of each kind."""
POLICY = """
version: 1
server: {tls: "off", access_log: false}
backends:
  engine: {kind: fake, price: tokens}
  timed: {kind: fake, price: seconds, expect: 2s, max_run: 60s}
  painter: {kind: fake, price: pictures}
models:
  chat: {task: chat, backends: [engine]}
  embed: {task: embeddings, backends: [engine]}
  run: {task: infer, backends: [timed]}
  paint: {task: infer, backends: [painter]}
prices:
  tokens: {per_million_input: 0.5, per_million_output: 1.5}
  seconds: {per_second: 0.001}
  pictures: {per_image: 0.01}
plans: {default: {spend: 1000 USD/month}}
"""


class Kind(NamedTuple):
    """One kind of call: the text that it brings and what its answer is, drawn anew for each."""

    path: str
    asked: Callable[[random.Random], dict[str, Any]]
    used: Callable[[random.Random, int], Usage]
    """Of the bytes of the text asked."""


def _chat(letters: int, **fields: Any) -> Callable[[random.Random], dict[str, Any]]:
    def asked(source: random.Random) -> dict[str, Any]:
        text = "x" * round(letters * source.lognormvariate(0, 0.5))
        return {"model": "chat", "messages": [{"role": "user", "content": text}], **fields}

    return asked


def _writes(tokens: int, most: int = 4096) -> Callable[[random.Random, int], Usage]:
    def used(source: random.Random, letters: int) -> Usage:
        written = min(most, max(1, round(tokens * source.lognormvariate(0, 0.6))))
        return Usage(input_tokens=letters // 4, output_tokens=written)

    return used


CHAT = "/v1/chat/completions"
STREAM = {"stream": True, "stream_options": {"include_usage": True}}
MIX: dict[str, Kind] = {
    "a short chat without `max_tokens`": Kind(CHAT, _chat(400), _writes(250)),
    "a short chat with `max_tokens: 512`": Kind(
        CHAT, _chat(400, max_tokens=512), _writes(250, 512)
    ),
    "a long chat without `max_tokens`": Kind(CHAT, _chat(40_000), _writes(800)),
    "a long chat with `max_tokens: 1024`": Kind(
        CHAT, _chat(40_000, max_tokens=1024), _writes(500, 1024)
    ),
    "a stream without `max_tokens`": Kind(CHAT, _chat(2_000, **STREAM), _writes(400)),
    "an embedding": Kind(
        "/v1/embeddings",
        lambda source: {"model": "embed", "input": "x" * source.randrange(100, 4000)},
        lambda source, letters: Usage(input_tokens=letters // 4, output_tokens=0),
    ),
    "a run by the second": Kind(
        "/v1/infer/run",
        lambda source: {},
        lambda source, letters: Usage(exec_s=2 * source.lognormvariate(0, 0.3), reported=True),
    ),
    "a picture": Kind(
        "/v1/infer/paint", lambda source: {}, lambda source, letters: Usage(images=1)
    ),
}


def _letters(asked: dict[str, Any]) -> int:
    text = asked.get("input", "")
    return len(text) + sum(len(message["content"]) for message in asked.get("messages", ()))


def _answer(asked: dict[str, Any], used: Usage) -> Reply | list[Chunk]:
    if "stream" not in asked:
        return Reply(body=b"{}", usage=used)
    word = Chunk(b'data: {"word"}\n\n', tokens=used.output_tokens or 0)
    said = Chunk(b'data: {"choices":[],"usage":{}}\n\n', "usage", used)
    return [word, said, Chunk(b"data: [DONE]\n\n", "done")]


async def play(gateway: AssembledGateway, *kinds: Kind) -> None:
    """Forty calls of each kind, one after another, in any order."""
    source = random.Random(7)
    calls = [kind for kind in kinds for _ in range(CALLS)]
    random.Random(11).shuffle(calls)
    async with gateway.client() as client:
        for kind in calls:
            name = {"/v1/infer/run": "timed", "/v1/infer/paint": "painter"}.get(kind.path, "engine")
            fake = gateway.fake(name)
            asked = kind.asked(source)
            used = kind.used(source, _letters(asked))
            fake.tell(_answer(asked, used))
            fake.runs_for = used.exec_s or 0.0
            task = asyncio.ensure_future(client.post(kind.path, json=asked))
            if fake.runs_for:
                await gateway.until_asked(name)
                await gateway.clock.advance(fake.runs_for)
            answer = await task
            assert answer.status_code == 200, answer.text


async def totals(gateway: AssembledGateway) -> tuple[int, int]:
    """(held, settled) of all rows, in nano-dollars."""
    rows = await gateway.inner.ledger.calls(CallsQuery(rows=UsageQuery(), most=10_000))
    return sum(row.hold_nano for row in rows), sum(row.cost_nano for row in rows)


class Counted(NamedTuple):
    """The same by the metrics, in dollars; and what was told as taken."""

    held: float
    set_aside: float
    settled: float

    def line(self, kind: str) -> str:
        """Of the page."""
        held, set_aside = self.held / self.settled, self.set_aside / self.settled
        return f"| {kind} | {held:.1f} | {set_aside:.1f} |"


def counted(gateway: AssembledGateway) -> Counted:
    metrics = gateway.inner.metrics.holds
    return Counted(
        *(
            sum(sample.value for metric in one.collect() for sample in metric.samples)
            for one in (metrics.held, metrics.set_aside, metrics.settled)
        )
    )


@pytest.mark.parametrize("kind", MIX)
async def test_the_page_says_how_much_more_is_held(
    kind: str, tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock, POLICY) as gateway:
        await play(gateway, MIX[kind])
        held, settled = await totals(gateway)
        told = counted(gateway)
        assert (told.held, told.settled) == pytest.approx((held / NANO, settled / NANO))
        assert told.line(kind) in PAGE


async def test_the_page_says_it_of_all_kinds_together(tmp_path: Path, clock: FakeClock) -> None:
    async with assembled(tmp_path, clock, POLICY) as gateway:
        await play(gateway, *MIX.values())
        held, settled = await totals(gateway)
        told = counted(gateway)
        assert (told.held, told.settled) == pytest.approx((held / NANO, settled / NANO))
        assert told.line("all of these, by what they cost") in PAGE
        assert told.set_aside <= 2.1 * told.settled


def test_the_page_has_these_kinds_alone() -> None:
    rows = re.findall(r"^\| (.+) \| \d+\.\d \| \d+\.\d \|", PAGE, re.MULTILINE)
    assert rows == [*MIX, "all of these, by what they cost"]


async def test_a_call_without_a_limit_of_money_is_not_counted(
    tmp_path: Path, clock: FakeClock
) -> None:
    text = POLICY.replace("plans: {default: {spend: 1000 USD/month}}", "plans: {default: {}}")
    async with assembled(tmp_path, clock, text) as gateway:
        await play(gateway, MIX["a picture"])
        assert (await totals(gateway))[1] == CALLS * 10_000_000
        assert counted(gateway) == (0, 0, 0)


async def test_a_call_that_fails_counts_what_was_held_for_nothing(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock, POLICY) as gateway, gateway.client() as client:
        gateway.fake("painter").tell(BackendError(FailureClass.INVALID, "no"))
        assert (await client.post("/v1/infer/paint", json={})).status_code == 400
        assert counted(gateway) == (0.04, 0.04, 0)
