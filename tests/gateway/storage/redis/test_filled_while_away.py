"""A gateway that is cut off from the server while another one fills that from the ledger of both:
what the first one spent meanwhile is counted once, whatever the order of what happens."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

from gateway.clock import FakeClock
from gateway.restore import fill, refill
from gateway.storage.base import Admitted, Claim
from gateway.storage.outage.answers import LostAnswers
from gateway.storage.outage.store import FallbackStore
from gateway.storage.redis.resp import Reply
from gateway.storage.redis.store import RedisSharedStore
from gateway.storage.remote import StorageLost
from gateway.types import MICRO
from tests.gateway.assembled import AssembledGateway, assembled
from tests.gateway.storage.sqlite.ledger_rows import settled_row
from tests.redis_server import RedisServer

CAP = 1_000
A_NANO, B_NANO = (10, 7), 25
"""Of a call that began before the cut, and one that began after it; and of the other gateway's."""


def orders() -> Iterator[tuple[str, ...]]:
    """Those in which something was spent before the cut is over, with a server that forgets
    before it is filled again, and with one that does not."""
    for forgets in (["emptied"], []):
        for order in itertools.permutations(("a ends", "b ends", *forgets, "b fills", "a is back")):
            filled = not forgets or order.index("emptied") < order.index("b fills")
            if filled and order.index("a ends") < order.index("a is back"):
                yield order


class CutStore(RedisSharedStore):
    """Of a gateway that may be cut off: nothing that it sends is heard."""

    is_away = False

    async def _run(
        self, operation: bytes, hold_id: str, body: bytes, *more: Any, **of: Any
    ) -> Reply:
        if self.is_away:
            raise StorageLost("the server is not reached")
        return await super()._run(operation, hold_id, body, *more, **of)


class Member:
    """A gateway on the server."""

    kind: type[FallbackStore] = FallbackStore

    def __init__(self, url: str, clock: FakeClock, ledger: str) -> None:
        self.is_told = False
        self._clock = clock
        self.remote = CutStore(
            url,
            600.0,
            clock=clock,
            now_us=lambda: round(clock.time() * MICRO),
            ledger=ledger,
            emptied=self._is_emptied,
        )
        self.shared = self.kind(self.remote, LostAnswers(rest="open"), clock)
        self.gateway: AssembledGateway | None = None

    def _is_emptied(self) -> None:
        self.is_told = True

    @property
    def inner(self) -> Any:
        assert self.gateway is not None
        return self.gateway.inner

    async def looks(self) -> None:
        """As once a second."""
        await self.shared.ping()
        if self.is_told:
            self.is_told = False
            await refill(self.inner)

    async def returns(self) -> None:
        """It finds the server, tells what that missed, and has looked."""
        self.remote.is_away = False
        while self.shared.degraded:
            await self._clock.advance(0.5)
            await asyncio.sleep(0.001)
        await self.looks()

    async def ends(self, call_id: str, claim: Claim, nano: int) -> None:
        user = claim.scope.partition(":")[2]
        row = settled_row(call_id, user=user, plan="default", cost_nano=nano)
        await self.inner.settler.settle((row,), (claim,), opened=True)


class Two:
    """``a``, which is cut off, and ``b``."""

    def __init__(self, a: Member, b: Member, server: RedisServer) -> None:
        self.a, self.b, self.server = a, b, server

    async def cut(self, claim: Claim) -> None:
        """``a`` has a call on its way, and is away; another call begins there."""
        assert isinstance(await self.a.shared.admit(f"{claim.scope}-1", [claim], 600.0), Admitted)
        self.a.remote.is_away = True
        assert isinstance(await self.a.shared.admit(f"{claim.scope}-2", [claim], 600.0), Admitted)

    async def happens(self, event: str, claim: Claim) -> None:
        if event == "a ends":
            for number, nano in enumerate(A_NANO, start=1):
                await self.a.ends(f"{claim.scope}-{number}", claim, nano)
        elif event == "b ends":
            await self.b.ends(f"{claim.scope}-3", claim, B_NANO)
        elif event == "emptied":
            self.server.command("FLUSHALL")
        elif event == "b fills":
            await fill(self.b.inner, self.b.inner.active.policy)
        else:
            await self.a.returns()

    async def both_look(self) -> None:
        for one in (self.a, self.b):
            await one.looks()

    async def counted(self, claim: Claim) -> int:
        (status,) = await self.b.shared.statuses([claim])
        return CAP - status.remaining


@contextlib.asynccontextmanager
async def two_gateways(
    folder: Path, clock: FakeClock, server: RedisServer, member: type[Member] = Member
) -> AsyncIterator[Two]:
    async with assembled(folder, clock) as known:
        ledger = known.inner.ledger.identity
    a, b = (member(server.url, clock, ledger) for _ in range(2))
    async with (
        assembled(folder, clock, shared=a.shared) as a.gateway,
        assembled(folder, clock, shared=b.shared) as b.gateway,
    ):
        yield Two(a, b, server)


async def test_what_is_spent_while_another_fills_is_counted_once(
    tmp_path: Path, clock: FakeClock, redis_server: RedisServer
) -> None:
    async with two_gateways(tmp_path, clock, redis_server) as two:
        for number, order in enumerate(orders()):
            claim = Claim(f"user:u{number}", "nano_usd", "month", CAP, 1)
            await two.both_look()
            await clock.advance(3.0)  # what others held was waited for
            await two.cut(claim)
            for event in order:
                await two.happens(event, claim)
            await two.both_look()
            assert await two.counted(claim) == sum(A_NANO) + B_NANO, order
