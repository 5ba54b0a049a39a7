"""A call that is cancelled at any of its suspensions leaves nothing behind and is settled once."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Generator
from pathlib import Path
from typing import Any

import pytest

from adapters.errors import BackendError, FailureClass
from adapters.types import Chunk, Reply, Usage
from gateway.api.answers.relay import Relay
from gateway.api.requests.request import RequestContext
from gateway.calls.stream import SettledStream
from gateway.clock import FakeClock, settle
from gateway.storage.base import Claim
from gateway.types import ApiError
from tests.gateway.assembled import PATIENCE_S, POLICY, AssembledGateway, assembled
from tests.gateway.failing_stores import FailingLedger, FailingShared, Trouble

USED = Usage(exec_s=0.5, reported=True, input_tokens=1, output_tokens=1)
TEXT = POLICY.replace("kind: fake, slots: 2", "kind: fake, slots: 2, concurrency: 2")
WAYS = {
    "a reserved backend answers": ("chat", False, []),
    "a paid backend answers": ("far", False, []),
    "another backend answers": ("chat", False, [BackendError(FailureClass.UNREACHABLE, "no")]),
    "the call fails": ("chat", False, [BackendError(FailureClass.FAILED, "boo", usage=USED)]),
    "nobody knows whether it runs": ("chat", False, [BackendError(FailureClass.TIMEOUT, "late")]),
    "a stream": ("far", True, []),
}


class CancelledAt:
    """Awaits ``work``, and has its task cancelled while it is suspended for the n-th time."""

    def __init__(self, work: Coroutine[Any, Any, None], turn: int) -> None:
        self._work = work
        self._turn = turn
        self.reached = False

    def __await__(self) -> Generator[Any, Any, None]:
        task = asyncio.current_task()
        assert task is not None
        steps = self._work.__await__()
        turn = 0
        try:
            waits_for = next(steps)
            while True:
                if turn == self._turn:
                    self.reached = True
                    asyncio.get_running_loop().call_soon(task.cancel)
                turn += 1
                try:
                    sent = yield waits_for
                except BaseException as error:
                    waits_for = steps.throw(error)
                else:
                    waits_for = steps.send(sent)
        except StopIteration:
            return


async def one_call(gateway: AssembledGateway, way: str) -> None:
    """As ``gateway.api.calls.call_requests`` runs it."""
    model, stream, _ = WAYS[way]
    state = gateway.call_state(model, stream=stream)
    answer = await gateway.ask(state)
    if isinstance(answer, SettledStream):
        context = RequestContext(
            path="/", request_id=state.call.id, headers={}, received=0.0, received_at=0.0
        )
        relay = Relay(state, context, nowhere, gateway.inner.dispatcher.slow_clients)
        await relay.stream(answer, show_usage=True, now=gateway.clock.monotonic())


async def nowhere(_: Any) -> None:
    await asyncio.sleep(0)


async def try_at(turn: int, way: str, folder: Path) -> bool:
    """One gateway, one call, cancelled at its ``turn``-th suspension; False when it had fewer."""
    folder.mkdir()
    clock = FakeClock()
    trouble = Trouble()
    ledger = FailingLedger(folder / "ledger.db", clock=clock, write_timeout_s=PATIENCE_S).told(
        trouble
    )
    shared = FailingShared(clock).told(trouble)
    async with assembled(folder, clock, TEXT, shared=shared, ledger=ledger) as gateway:
        tell(gateway, way)
        attempt = CancelledAt(one_call(gateway, way), turn)

        async def run() -> None:
            await attempt

        task = asyncio.get_running_loop().create_task(run())
        while not task.done():
            await clock.advance(0.25)
            await asyncio.sleep(0.001)
        ended = None if task.cancelled() else task.exception()
        assert ended is None or isinstance(ended, ApiError), repr(ended)
        await gateway.inner.dispatcher.background.drain()
        await settle()
        await nothing_is_left(gateway)
        return attempt.reached


def tell(gateway: AssembledGateway, way: str) -> None:
    _, stream, first = WAYS[way]
    gateway.fake("home").tell(*first)
    for name in ("home", "burst"):
        gateway.fake(name).runs_for = 0.5
    if stream:
        events = [Chunk(b"data: {}\n\n"), Chunk(b"data: {}\n\n", "usage", USED)]
        gateway.fake("burst").tell([*events, Chunk(b"data: [DONE]\n\n", "done")])
    else:
        gateway.fake("burst").tell(Reply(usage=USED))


async def nothing_is_left(gateway: AssembledGateway) -> None:
    money = Claim("user:alice", "nano_usd", "month", 5_000_000_000, 0)
    calls = Claim("user:alice", "concurrent", "", 100, 1)
    running, spent = await gateway.inner.shared.statuses((calls, money))
    rows = await gateway.rows("req_1")
    assert [backend.in_flight for backend in gateway.inner.active.backends.values()] == [0, 0]
    assert running.remaining == 100, "the call is still held"
    assert len([row for row in rows if row.kind == "call"]) <= 1
    assert all(row.outcome != "open" for row in rows), "a row was left open"
    assert 5_000_000_000 - spent.remaining == sum(row.cost_nano for row in rows)
    assert gateway.inner.settler.waiting == 0
    for name in ("home", "burst"):
        assert gateway.fake(name).running == 0


@pytest.mark.parametrize("way", WAYS)
async def test_wherever_a_call_is_cancelled_nothing_is_held_and_it_is_settled_once(
    way: str, tmp_path: Path
) -> None:
    """At its first suspension, its second, and so on until it ends before it can be cancelled."""
    turn = 0
    while await try_at(turn, way, tmp_path / str(turn)):
        turn += 1
    assert turn >= 4, "the call is hardly ever suspended: this proves nothing"
