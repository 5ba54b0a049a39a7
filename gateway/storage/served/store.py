"""The end of a process that asks: a shared store that another process keeps."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from gateway.clock import Clock, Timer
from gateway.storage.base import (
    Admitted,
    Claim,
    Counted,
    LimitStatus,
    Refused,
    StorageUnavailable,
    WindowSpent,
)
from gateway.storage.claims import CallClaims, ClaimTemplate
from gateway.storage.counters import TOTALS
from gateway.storage.served.messages import (
    Admit,
    AdmitAs,
    Answer,
    Extend,
    Forget,
    Learn,
    NotTaken,
    Number,
    PastCap,
    Question,
    Reinstate,
    Release,
    Restore,
    Settle,
    SettleAs,
    SpentInWindows,
    Statuses,
    StoreFault,
    Taken,
    Tidied,
    WindowsAsked,
    status_of,
)
from gateway.types import Unit

A = TypeVar("A")


_CALLERS = 4096
"""The most that the other end knows by their numbers."""

_Waiter = tuple[asyncio.Future[Answer], float]
"""One question on its way, and when it is overdue. A tuple because it is made twice a call."""


class ServedSharedStore:
    """A ``SharedStore`` that is asked by ``send``; whoever reads the connection gives each answer
    to ``receive``, in order, and calls ``lose`` when the connection is gone, which is for ever.

    A question that is not answered within ``timeout_s`` raises StorageUnavailable. What nobody
    waits for any more is given back behind it, and so in order.
    """

    def __init__(self, send: Callable[[Question], None], clock: Clock, timeout_s: float) -> None:
        self._send = send
        self._clock = clock
        self.timeout_s = timeout_s
        self._waiting: deque[_Waiter] = deque()
        self._timer: Timer | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._numbers: dict[ClaimTemplate, int] = {}
        self._failing = ""
        self._lost = ""
        self.past: Callable[[str, int], None] = _ignore
        """Called with a hold's id and nano-dollars of its settlement that lie past a limit."""

    def __repr__(self) -> str:
        return f"ServedStore({len(self._waiting)} waiting)"

    # --- the connection -------------------------------------------------------------------------

    def receive(self, answer: Answer) -> None:
        """The answer to the oldest question, but for what is told of a settlement."""
        if type(answer) is PastCap:
            self.past(answer.hold_id, answer.nano_usd)
            return
        future, _ = self._waiting.popleft()
        self._failing = ""
        if not future.done():
            future.set_result(answer)

    def lose(self, reason: str) -> None:
        """Nothing will be answered any more."""
        self._lost = self._failing = reason
        if self._timer is not None:
            self._timer.cancel()
        while self._waiting:
            _fail(self._waiting.popleft()[0], reason)

    # --- the protocol ---------------------------------------------------------------------------

    async def admit(
        self, hold_id: str, claims: Sequence[Claim], ttl_s: float
    ) -> Admitted | Refused:
        try:
            answer = await self._ask(self._admission(hold_id, claims, ttl_s))
        except (asyncio.CancelledError, StorageUnavailable):
            if not self._lost:
                self._send(Release(hold_id))
            raise
        if type(answer) is Taken:
            return Admitted(tuple([status_of(one, claims) for one in answer.standings]))
        refused = _of(NotTaken, answer)
        return Refused(status_of(refused.standing, claims), refused.retry_after_s)

    async def extend(self, hold_id: str, unit: Unit, more: int) -> bool:
        if unit not in TOTALS:
            raise ValueError(f"{unit} is not held in amounts")
        return _of(Number, await self._ask(Extend(hold_id, unit, more))).value == 1

    async def reinstate(self, hold_id: str, claims: Sequence[Claim], ttl_s: float) -> None:
        _of(Number, await self._ask(Reinstate(hold_id, tuple(claims), ttl_s)))

    async def settle(self, hold_id: str, claims: Sequence[Claim], actual: dict[Unit, int]) -> int:
        if isinstance(claims, CallClaims):
            # Nobody waits: it is there before whatever is asked after it, and what it has to say,
            # ``past`` is told.
            caller = self._number(claims.template)
            self._say(SettleAs(hold_id, caller, claims.nano_usd, claims.gpu_us, actual))
            return 0
        return _of(Number, await self._ask(Settle(hold_id, tuple(claims), actual))).value

    fills = 0

    async def settle_written(
        self, hold_id: str, claims: Sequence[Claim], actual: dict[Unit, int], fills: int
    ) -> int:
        return await self.settle(hold_id, claims, actual)

    async def release(self, hold_id: str) -> None:
        self._say(Release(hold_id))

    async def restore(self, spent: Iterable[Counted]) -> None:
        _of(Number, await self._ask(Restore(tuple(spent))))

    async def statuses(self, claims: Sequence[Claim]) -> tuple[LimitStatus, ...]:
        asked = tuple(claims)
        found = _of(Taken, await self._ask(Statuses(asked)))
        return tuple([status_of(one, asked) for one in found.standings])

    async def spent(self, claims: Sequence[Claim]) -> tuple[WindowSpent, ...]:
        asked = tuple(claims)
        found = _of(SpentInWindows, await self._ask(WindowsAsked(asked)))
        return tuple([WindowSpent(asked[at], spent, ends) for at, spent, ends in found.windows])

    async def ping(self) -> None:
        _of(Taken, await self._ask(Statuses(())))

    @property
    def failing(self) -> str:
        return self._failing

    @property
    def degraded(self) -> str:
        return ""

    async def aclose(self) -> None:
        self.lose("the shared store is closed")

    def tidied(self, processes: tuple[int, ...]) -> None:
        """What calls of processes that are gone left in the ledger is settled. Raises
        StorageUnavailable."""
        self._say(Tidied(processes))

    # --- callers ---------------------------------------------------------------------------------

    def _admission(self, hold_id: str, claims: Sequence[Claim], ttl_s: float) -> Question:
        if not isinstance(claims, CallClaims):
            return Admit(hold_id, tuple(claims), ttl_s)
        caller, nano, gpu_us = self._number(claims.template), claims.nano_usd, claims.gpu_us
        return AdmitAs(hold_id, caller, nano, gpu_us, ttl_s, claims.rest, claims.surplus)

    def _number(self, template: ClaimTemplate) -> int:
        """By which the other end knows a caller; it is told once."""
        number = self._numbers.get(template)
        return self._introduce(template) if number is None else number

    def _introduce(self, template: ClaimTemplate) -> int:
        if len(self._numbers) >= _CALLERS:
            self._numbers.clear()
            self._say(Forget())
        number = self._numbers[template] = len(self._numbers)
        self._say(Learn(number, template.limits, tuple(template.shown)))
        return number

    # --- asking ---------------------------------------------------------------------------------

    def _say(self, question: Question) -> None:
        if self._lost:
            raise StorageUnavailable(self._lost)
        self._send(question)

    def _ask(self, question: Question) -> asyncio.Future[Answer]:
        self._say(question)
        loop = self._loop
        if loop is None:
            loop = self._loop = asyncio.get_running_loop()
        future: asyncio.Future[Answer] = loop.create_future()
        deadline = self._clock.monotonic() + self.timeout_s
        self._waiting.append((future, deadline))
        if self._timer is None:
            self._timer = self._clock.call_later(self.timeout_s, self._check)
        return future

    def _check(self) -> None:
        """One timer serves all: it is set for the oldest question, and only while one waits."""
        self._timer = None
        now = self._clock.monotonic()
        for future, deadline in self._waiting:
            wait = deadline - now
            if wait > 0:
                self._timer = self._clock.call_later(wait, self._check)
                return
            self._failing = f"the shared store did not answer within {self.timeout_s:g} s"
            _fail(future, self._failing)


def _ignore(hold_id: str, past_nano: int) -> None:
    """Nobody listens yet."""


def _fail(future: asyncio.Future[Answer], reason: str) -> None:
    if not future.done():
        future.set_exception(StorageUnavailable(reason))
        future.exception()  # whoever was cancelled meanwhile does not ask for it


def _of(kind: type[A], answer: Answer) -> A:
    """The answer, which is of this kind. Raises what the store has raised."""
    if isinstance(answer, kind):
        return answer
    if type(answer) is StoreFault and answer.kind == "value":
        raise ValueError(answer.text)
    raise StorageUnavailable(
        answer.text if type(answer) is StoreFault else f"an answer of another kind: {answer!r}"
    )
