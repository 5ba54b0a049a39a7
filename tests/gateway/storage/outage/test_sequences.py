"""Whatever is lost, and whenever: what calls used is counted once, and no hold is left."""

from __future__ import annotations

import asyncio
import contextlib

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.clock import FakeClock, settle
from gateway.storage.base import Admitted, StorageUnavailable
from gateway.storage.outage.answers import LostAnswers
from gateway.storage.outage.store import FallbackStore
from tests.gateway.storage.claims import concurrent, money
from tests.gateway.storage.outage.fleeting import FleetingStore

LIMIT = 1_000_000
CLAIMS = (money("user:a", LIMIT, 10, surplus=3), concurrent("user:a", LIMIT))
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("admit"), st.just(0)),
        st.tuples(st.sampled_from(("settle", "release", "extend")), st.integers(0, 5)),
        st.tuples(st.sampled_from(("lost", "deaf", "back", "wait")), st.just(0)),
    ),
    max_size=30,
)


class Calls:
    """Of one gateway, by what has become of them."""

    def __init__(self, answer: str) -> None:
        self.clock = FakeClock()
        self.remote = FleetingStore(self.clock)
        answers = LostAnswers(rest=answer)  # type: ignore[arg-type]
        self.store = FallbackStore(self.remote, answers, self.clock)
        self.running: list[str] = []
        self.used = 0
        self._count = 0

    async def step(self, what: str, which: int) -> None:
        if what == "admit":
            await self._admit()
        elif what in ("lost", "deaf", "back"):
            self.remote.lost, self.remote.deaf = what == "lost", what == "deaf"
        elif what == "wait":
            await settle()
            await self.clock.advance(0.3)
        elif self.running:
            await self._change(what, self.running[which % len(self.running)])

    async def _admit(self) -> None:
        self._count += 1
        name = f"call {self._count}"
        with contextlib.suppress(StorageUnavailable):
            if isinstance(await self.store.admit(name, CLAIMS, 600.0), Admitted):
                self.running.append(name)

    async def _change(self, what: str, name: str) -> None:
        if what == "extend":
            with contextlib.suppress(StorageUnavailable):
                await self.store.extend(name, "nano_usd", 5)
            return
        self.running.remove(name)
        if what == "release":
            await self.store.release(name)
        else:
            self.used += 7
            await self.store.settle(name, CLAIMS, {"nano_usd": 7})

    async def end(self) -> list[tuple[int, int, int]]:
        """All that run have ended, and the store has been back for a while: what is left, held, and
        will probably come back."""
        for name in list(self.running):
            await self._change("settle", name)
        self.remote.lost = self.remote.deaf = False
        await settle()
        await self.clock.advance(5.0)
        await self.store.aclose()
        found = await self.remote.memory.statuses(CLAIMS)
        return [(one.remaining, one.held, one.surplus) for one in found]


@settings(max_examples=200, deadline=None)
@given(steps=STEPS, answer=st.sampled_from(("closed", "open", "share")))
def test_what_was_used_is_counted_once_and_nothing_stays_held(
    steps: list[tuple[str, int]], answer: str
) -> None:
    async def play() -> None:
        calls = Calls(answer)
        await calls.store.ping()
        for what, which in steps:
            await calls.step(what, which)
        assert await calls.end() == [(LIMIT - calls.used, 0, 0), (LIMIT, 0, 0)]

    asyncio.run(play())
