"""The shared store as a server: the store of one process behind a network, which may forget."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any, TypeVar

from gateway.clock import Clock
from gateway.storage.base import (
    Admitted,
    Claim,
    Counted,
    LimitStatus,
    Refused,
    StorageUnavailable,
    WindowSpent,
)
from gateway.storage.memory import MemorySharedStore
from gateway.types import Unit
from tests.simulation.loop import Process
from tests.simulation.network import Link, Server

T = TypeVar("T")


class SharedServer:
    """``server`` is how it stands, ``store`` what it remembers."""

    def __init__(self, server: Server, clock: Clock) -> None:
        self.server = server
        self._clock = clock
        self.settled: dict[str, int] = {}
        """Nano-dollars that each id was settled at, first."""
        self.memory = 0
        """How often it has forgotten everything."""
        self.fills = 0
        """How often it was filled."""
        self.forgets()

    def forgets(self) -> None:
        """Its memory is empty, and stays unknown until somebody has filled it."""
        self.store = MemorySharedStore(self._clock)
        self.memory += 1
        self.is_known = False


class SharedLink:
    """A ``SharedStore`` of one process; ``emptied`` is called when the server has lost its memory,
    and what it admits before it is filled is given back."""

    def __init__(
        self,
        shared: SharedServer,
        process: Process,
        timeout_s: float,
        emptied: Callable[[], None],
    ) -> None:
        self._shared = shared
        self._link = Link(shared.server, process, timeout_s)
        self._emptied = emptied
        self._filled = 0
        """The memory that this process has filled."""
        self.fills = 0
        """The fill that it was last told of."""
        self._behind: list[str] = []
        """What it still holds though there is a row of it."""

    def _knows(self) -> bool:
        return self._shared.is_known and self._shared.memory == self._filled

    async def admit(
        self, hold_id: str, claims: Sequence[Claim], ttl_s: float
    ) -> Admitted | Refused:
        def work() -> tuple[Admitted | Refused, bool]:
            shared = self._shared
            return at_once(shared.store.admit(hold_id, claims, ttl_s)), self._knows()

        def undo() -> None:
            at_once(self._shared.store.release(hold_id))

        found, is_known = await self._link.ask(work, undo)
        if is_known:
            return found
        self._emptied()
        if isinstance(found, Admitted):
            self._link.send(undo)
        raise StorageUnavailable("the shared store was emptied")

    async def extend(self, hold_id: str, unit: Unit, more: int) -> bool:
        def work() -> bool | None:
            try:
                return at_once(self._shared.store.extend(hold_id, unit, more))
            except StorageUnavailable:
                return None

        found = await self._link.ask(work)
        if found is None:
            await self.ping()
            raise StorageUnavailable(f"{hold_id} is not held any more")
        return found

    async def reinstate(self, hold_id: str, claims: Sequence[Claim], ttl_s: float) -> None:
        await self._ask(lambda store: store.reinstate(hold_id, claims, ttl_s))

    async def settle(self, hold_id: str, claims: Sequence[Claim], actual: dict[Unit, int]) -> int:
        def work() -> int:
            if not self._shared.is_known:
                at_once(self._shared.store.release(hold_id))
                return 0
            self._shared.settled.setdefault(hold_id, actual.get("nano_usd", 0))
            return at_once(self._shared.store.settle(hold_id, claims, actual))

        return await self._link.ask(work)

    async def settle_written(
        self, hold_id: str, claims: Sequence[Claim], actual: dict[Unit, int], fills: int
    ) -> int:
        def is_in_doubt() -> bool:
            shared = self._shared
            return bool(fills) and fills != shared.fills and hold_id not in shared.settled

        if not await self._link.ask(is_in_doubt):
            return await self.settle(hold_id, claims, actual)
        self._behind.append(hold_id)
        self._emptied()
        return 0

    async def release(self, hold_id: str) -> None:
        await self._ask(lambda store: store.release(hold_id))

    async def restore(self, spent: Iterable[Counted]) -> None:
        sums, behind = list(spent), tuple(self._behind)

        def work() -> tuple[int, int]:
            at_once(self._shared.store.restore(sums))
            self._shared.is_known = True
            self._shared.fills += 1
            for hold_id in behind:
                at_once(self._shared.store.settle(hold_id, (), {}))
            return self._shared.memory, self._shared.fills

        self._filled, self.fills = await self._link.ask(work)
        del self._behind[: len(behind)]

    async def statuses(self, claims: Sequence[Claim]) -> tuple[LimitStatus, ...]:
        return await self._ask(lambda store: store.statuses(claims))

    async def spent(self, claims: Sequence[Claim]) -> tuple[WindowSpent, ...]:
        return await self._ask(lambda store: store.spent(claims))

    async def ping(self) -> None:
        knows, self.fills = await self._link.ask(lambda: (self._knows(), self._shared.fills))
        if self._behind or not knows:
            self._emptied()

    @property
    def failing(self) -> str:
        return self._link.failing

    @property
    def degraded(self) -> str:
        return ""

    async def aclose(self) -> None:
        return None

    async def _ask(self, work: Callable[[MemorySharedStore], Coroutine[Any, Any, T]]) -> T:
        return await self._link.ask(lambda: at_once(work(self._shared.store)))


def at_once(work: Coroutine[Any, Any, T]) -> T:
    """What a coroutine gives that never waits."""
    try:
        work.send(None)
    except StopIteration as done:
        found: T = done.value
        return found
    work.close()
    raise AssertionError("it waited")
