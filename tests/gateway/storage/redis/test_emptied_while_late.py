"""A server that loses its memory while calls that have ended wait for the ledger: whatever the
order of what happens, limits count all that was spent, once everybody has noticed."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from gateway.clock import FakeClock
from gateway.money.settling.settlement import Settler
from gateway.restore import refill
from gateway.storage.base import Claim, Refused, SharedStore, StorageUnavailable
from gateway.storage.outage.answers import LostAnswers
from gateway.storage.outage.store import FallbackStore
from gateway.storage.redis.store import RedisSharedStore
from gateway.types import MICRO
from tests.gateway.assembled import AssembledGateway, assembled
from tests.gateway.failing_stores import FailingLedger, Trouble
from tests.gateway.storage.sqlite.ledger_rows import settled_row
from tests.redis_server import RedisServer

CAP = 1_000
EVENTS = ("a ends", "b ends", "emptied", "a looks", "b looks", "a writes again")


def orders() -> Iterator[tuple[str, ...]]:
    """Those in which memory is lost after something was spent, and before anybody looks."""
    for order in itertools.permutations(EVENTS):
        ended = min(order.index("a ends"), order.index("b ends"))
        looked = min(order.index("a looks"), order.index("b looks"))
        if ended < order.index("emptied") < looked:
            yield order


class OneOfTwo:
    """A gateway on the server, and whether it was told that this lost its memory."""

    def __init__(self, url: str, clock: FakeClock, ledger: str) -> None:
        self._is_told = False
        remote = RedisSharedStore(
            url,
            5.0,
            clock=clock,
            now_us=lambda: round(clock.time() * MICRO),
            ledger=ledger,
            emptied=self._is_emptied,
        )
        self.shared: SharedStore = FallbackStore(remote, LostAnswers(), clock)
        self.gateway: AssembledGateway | None = None

    def _is_emptied(self) -> None:
        self._is_told = True

    @property
    def settler(self) -> Settler:
        assert self.gateway is not None
        return self.gateway.inner.settler

    async def looks(self) -> None:
        """As once a second."""
        assert self.gateway is not None
        await self.shared.ping()
        if self._is_told:
            self._is_told = False
            await refill(self.gateway.inner)

    async def ends(self, claim: Claim, nano: int) -> None:
        user = claim.scope.partition(":")[2]
        row = settled_row(f"{user}-{nano}", user=user, plan="default", cost_nano=nano)
        await self.settler.settle((row,), (claim,), opened=True)


class Two:
    """Gateways ``a``, whose ledger may refuse, and ``b``, over one server and one ledger."""

    def __init__(self, a: OneOfTwo, b: OneOfTwo, trouble: Trouble, server: RedisServer) -> None:
        self.a, self.b, self.trouble, self.server = a, b, trouble, server
        self.spent = 0
        self.unnoticed: set[str] = set()

    async def happens(self, event: str, claim: Claim) -> None:
        if event == "a ends":
            await self.a.ends(claim, 10)
            self.spent += 10
        elif event == "b ends":
            await self.b.ends(claim, 25)
            self.spent += 25
        elif event == "emptied":
            self.server.command("FLUSHALL")
            self.unnoticed = {"a looks", "b looks"}
        elif event == "a writes again":
            self.trouble.ends()
            await self.a.settler.retry()
        else:
            await (self.a if event == "a looks" else self.b).looks()
            self.unnoticed.discard(event)

    async def counted(self, claim: Claim) -> int:
        (status,) = await self.b.shared.statuses([claim])
        return CAP - status.remaining


@contextlib.asynccontextmanager
async def two_gateways(folder: Path, clock: FakeClock, server: RedisServer) -> AsyncIterator[Two]:
    trouble = Trouble()
    ledger = FailingLedger(folder / "ledger.db").told(trouble)
    a, b = (OneOfTwo(server.url, clock, ledger.identity) for _ in range(2))
    async with (
        assembled(folder, clock, shared=a.shared, ledger=ledger) as a.gateway,
        assembled(folder, clock, shared=b.shared) as b.gateway,
    ):
        yield Two(a, b, trouble, server)


async def test_what_waits_for_the_ledger_is_counted_in_whatever_order_things_happen(
    tmp_path: Path, clock: FakeClock, redis_server: RedisServer
) -> None:
    async with two_gateways(tmp_path, clock, redis_server) as two:
        for number, order in enumerate(orders()):
            claim = Claim(f"user:u{number}", "nano_usd", "month", CAP, 0)
            two.spent = 0
            two.trouble.fails("before", "settle")
            for event in order:
                await two.happens(event, claim)
                if not two.unnoticed:
                    assert await two.counted(claim) == two.spent, (order, event)
            await two.a.looks()
            await two.b.looks()
            assert await two.counted(claim) == two.spent, order


async def test_what_a_gateway_alone_knows_is_waited_for_before_others_admit_calls(
    tmp_path: Path, clock: FakeClock, redis_server: RedisServer
) -> None:
    """It finds out within a second; a limit must not be passed meanwhile."""
    async with two_gateways(tmp_path, clock, redis_server) as two:
        claim = Claim("user:carol", "nano_usd", "month", CAP, 980)
        await two.b.looks()  # so that it has heard of the other one
        two.trouble.fails("before", "settle")
        await two.happens("a ends", claim)
        await two.happens("emptied", claim)
        await two.happens("b looks", claim)
        with pytest.raises(StorageUnavailable, match="other gateways"):
            await two.b.shared.admit("soon", [claim], 60.0)
        await two.happens("b ends", claim)
        await clock.advance(3.0)
        two.trouble.ends()
        assert isinstance(await two.b.shared.admit("later", [claim], 60.0), Refused)
