"""A gateway of three backends, and calls that are slow at the first."""

from __future__ import annotations

import asyncio

from adapters.types import Chunk, Usage
from gateway.calls.dispatcher import Answer
from gateway.calls.state import CallState
from gateway.calls.stream import SettledStream
from gateway.storage.base import Claim, LedgerRow
from tests.gateway.assembled import AssembledGateway

LIMIT = 5_000_000_000
WORD = Chunk(b'data: {"choices":[{"index":0,"delta":{"content":"x"}}]}\n\n')
USED = Usage(exec_s=0.5, input_tokens=1000, output_tokens=2000, reported=True)
WHOLE = (WORD, WORD, Chunk(b"", "usage", USED), Chunk(b"data: [DONE]\n\n", "done"))
POLICY = """
version: 1
server: {tls: "off", access_log: false}
backends:
  first: {kind: fake, price: %(price)s, expect: 1s}
  second: {kind: fake, price: %(price)s, expect: 1s%(second)s}
  third: {kind: fake, price: %(price)s, expect: 1s}
models:
  chat: {task: chat, backends: [first, second, third], slo: 5s}
  infer: {task: infer, backends: [first, second], slo: 5s}
prices:
  tokens: {per_million_input: 1, per_million_output: 1, as_of: 2026-11-01, source: test}
  seconds: {per_second: 0.001, as_of: 2026-11-01, source: test}
  reserved: {per_hour: 3.6, as_of: 2026-11-01, source: test}
routes:
  - {name: all, use: [first, second, third], order: listed, hedge: {%(hedge)s}%(route)s}
plans:
  default: {concurrent: 100, gpu_seconds: 1000/day, spend: 5 USD/month}
  poor: {spend: 0.005 USD/month}
"""


def policy(
    price: str = "tokens", hedge: str = "after: 1s, share: 100", route: str = "", second: str = ""
) -> str:
    """Of which a call has a second for its answer."""
    return POLICY % {"price": price, "hedge": hedge, "route": route, "second": second}


def runs(gateway: AssembledGateway, **seconds: float) -> None:
    """How long calls take where."""
    for name, runs_for in seconds.items():
        gateway.fake(name).runs_for = runs_for


def asked(gateway: AssembledGateway) -> list[int]:
    return [len(gateway.fake(name).calls) for name in ("first", "second", "third")]


async def at_both(
    gateway: AssembledGateway, body: bytes = b"x" * 4000
) -> tuple[CallState, asyncio.Task[Answer]]:
    """A call of which the first was asked, and a second later the second too."""
    state, task = gateway.start(body=body)
    await gateway.until_asked("first")
    await gateway.clock.advance(1.0)
    await gateway.until_asked("second")
    return state, task


async def answered(
    gateway: AssembledGateway, model: str = "chat", *, stream: bool = False, step: float = 0.25
) -> tuple[CallState, Answer]:
    """One call, and its answer; a stream's is read to its end."""
    state, task = gateway.start(model, stream=stream, body=b"x" * 4000)
    await gateway.until_done([task], step=step)
    answer = task.result()
    if isinstance(answer, SettledStream):
        async with answer:
            async for _ in answer:
                pass
    await gateway.inner.dispatcher.background.drain()
    return state, answer


async def row_of(gateway: AssembledGateway, state: CallState) -> LedgerRow:
    """The call's own."""
    [row] = [one for one in await gateway.rows(state.call.id) if one.kind == "call"]
    return row


async def nothing_is_left(gateway: AssembledGateway, call_id: str) -> list[LedgerRow]:
    """Its rows, when nothing is held and both stores have the same sum."""
    inner = gateway.inner
    await inner.dispatcher.background.drain()
    running = Claim("user:alice", "concurrent", "", 100, 1)
    money = Claim("user:alice", "nano_usd", "month", LIMIT, 0)
    calls, spent = await inner.shared.statuses((running, money))
    rows = await gateway.rows(call_id)
    assert [each.in_flight for each in inner.active.backends.values()] == [0, 0, 0]
    assert [gateway.fake(name).running for name in ("first", "second", "third")] == [0, 0, 0]
    assert calls.remaining == 100, "the call is still held"
    assert LIMIT - spent.remaining == sum(row.cost_nano for row in rows)
    assert all(row.outcome != "open" for row in rows)
    assert len([row for row in rows if row.kind == "call"]) == 1
    assert inner.settler.waiting == 0
    assert not inner.dispatcher.held
    return rows
