"""A gateway settles a call while another one fills the server from the ledger of both: the call is
counted once, between whichever of its steps the other one's come."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import pytest

from gateway.clock import FakeClock
from gateway.metrics import Metrics
from gateway.money.settling.settlement import Settler
from gateway.restore import fill, look_again
from gateway.storage.base import Claim, Counted, LedgerRow, StorageUnavailable
from gateway.storage.outage.store import FallbackStore
from gateway.storage.sqlite.ledger import SqliteLedger
from gateway.types import Unit
from tests.gateway.storage.redis.test_filled_while_away import CAP, Member, Two, two_gateways
from tests.gateway.storage.sqlite.ledger_rows import settled_row
from tests.redis_server import RedisServer
from tests.waiting import until

NANO = 10
STEPS = ("a begins", "a ends", "b reads", "b restores")


def orders() -> Iterator[tuple[str, ...]]:
    """With a server that forgets at any time, and with one that does not."""
    for order in itertools.permutations((*STEPS, "emptied")):
        if all(order.index(STEPS[at]) < order.index(STEPS[at + 1]) for at in (0, 2)):
            yield order
            if order[-1] == "emptied":
                yield order[:-1]


class Gate:
    """Who comes to it passes while it is open."""

    def __init__(self) -> None:
        self._open = asyncio.Event()
        self._open.set()
        self.is_waited_at = False

    def closes(self) -> None:
        self._open.clear()

    def opens(self) -> None:
        self._open.set()

    async def passes(self) -> None:
        self.is_waited_at = not self._open.is_set()
        await self._open.wait()
        self.is_waited_at = False


class GatedStore(FallbackStore):
    """Before a call is settled, and before the counters are filled."""

    gate: Gate
    refuses = False

    async def settle_written(
        self, hold_id: str, claims: Sequence[Claim], actual: dict[Unit, int], fills: int
    ) -> int:
        if self.refuses:
            raise StorageUnavailable("ask again")
        await self.gate.passes()
        return await super().settle_written(hold_id, claims, actual, fills)

    async def restore(self, spent: Iterable[Counted]) -> None:
        await self.gate.passes()
        await super().restore(spent)


class GatedMember(Member):
    kind = GatedStore

    def __init__(self, url: str, clock: FakeClock, ledger: str) -> None:
        super().__init__(url, clock, ledger)
        self.store.gate = Gate()

    @property
    def store(self) -> GatedStore:
        assert isinstance(self.shared, GatedStore)
        return self.shared


class GatedLedger:
    """Before a row is written."""

    def __init__(self, ledger: SqliteLedger) -> None:
        self._ledger = ledger
        self.gate = Gate()
        self.failing = ""

    async def settle(self, rows: Sequence[LedgerRow]) -> None:
        await self.gate.passes()
        await self._ledger.settle(rows)


class Walk:
    """One order of the steps, of a call of its own. ``way``: ``opened``, the server is told before
    the row is written; ``unopened``, afterwards; ``late``, it was told in vain before, and is told
    again afterwards."""

    def __init__(
        self, two: Two, way: str, claim: Claim, clock: FakeClock, call_id: str = ""
    ) -> None:
        self._two, self._way, self._claim = two, way, claim
        self._id = call_id or claim.scope
        a, b = two.a, two.b
        assert isinstance(a, GatedMember)
        assert isinstance(b, GatedMember)
        self._a, self._b = a.store, b.store
        self._a.gate, self._b.gate = Gate(), Gate()
        self._a.refuses = way == "late"
        self._ledger = GatedLedger(a.inner.ledger)
        self._settler = Settler(
            shared=self._a,
            ledger=self._ledger,  # type: ignore[arg-type]
            clock=clock,
            metrics=Metrics(),
        )
        self._ending: asyncio.Task[None] | None = None
        self._filling: asyncio.Task[None] | None = None

    async def happens(self, step: str) -> None:
        if step == "emptied":
            self._two.server.command("FLUSHALL")
        elif step == "a begins":
            await self._begin()
        elif step == "a ends":
            await self._end()
        elif step == "b reads":
            self._b.gate.closes()
            inner = self._two.b.inner
            self._filling = asyncio.ensure_future(fill(inner, inner.active.policy))
            await until(lambda: self._b.gate.is_waited_at, "its sums are read", every_s=0.001)
        else:
            assert self._filling is not None
            self._b.gate.opens()
            await self._filling

    async def _begin(self) -> None:
        second = self._ledger.gate if self._way == "opened" else self._a.gate
        second.closes()
        row = settled_row(
            self._id,
            user=self._claim.scope.partition(":")[2],
            plan="default",
            cost_nano=NANO,
        )
        ending = self._settler.settle((row,), (self._claim,), opened=self._way != "unopened")
        self._ending = asyncio.ensure_future(ending)
        await until(
            lambda: self._ending is None or self._ending.done() or second.is_waited_at,
            "the first step is done",
            every_s=0.001,
        )

    async def _end(self) -> None:
        assert self._ending is not None
        self._a.refuses = False
        self._ledger.gate.opens()
        self._a.gate.opens()
        await self._ending
        await self._settler.retry()
        assert self._settler.waiting == 0


@pytest.mark.parametrize("way", ["opened", "unopened", "late"])
async def test_a_call_is_counted_once_whatever_comes_between_its_steps(
    way: str, tmp_path: Path, clock: FakeClock, redis_server: RedisServer
) -> None:
    async with two_gateways(tmp_path, clock, redis_server, GatedMember) as two:
        for number, order in enumerate(orders()):
            claim = Claim(f"user:u{number}", "nano_usd", "month", CAP, NANO)
            await two.both_look()
            await clock.advance(3.0)  # what others held was waited for
            await two.a.shared.admit(claim.scope, [claim], 600.0)
            walk = Walk(two, way, claim, clock)
            for step in order:
                await walk.happens(step)
            await two.both_look()
            assert await two.counted(claim) == NANO, order


async def test_what_others_had_on_its_way_hides_nothing_for_long(
    tmp_path: Path, clock: FakeClock, redis_server: RedisServer
) -> None:
    """``a`` tells a server of a call that has forgotten everything, and whose sums are read before
    there is a row of it; when ``a`` fills that too, ``b`` has a call in the counters alone."""
    async with two_gateways(tmp_path, clock, redis_server, GatedMember) as two:
        claim = Claim("user:alice", "nano_usd", "month", CAP, NANO)
        await two.both_look()
        of_a = Walk(two, "opened", claim, clock)
        for step in ("emptied", "a begins", "b reads", "b restores", "a ends"):
            await of_a.happens(step)
        of_b = Walk(Two(two.b, two.a, two.server), "opened", claim, clock, "another")
        await of_b.happens("a begins")
        await two.both_look()
        assert await two.counted(claim) == NANO
        await of_b.happens("a ends")
        looking = asyncio.ensure_future(look_again(two.a.inner))

        async def comes_right() -> bool:
            await clock.advance(1.0)
            return await two.counted(claim) == 2 * NANO

        await until(comes_right, "both are counted", every_s=0.001)
        looking.cancel()
