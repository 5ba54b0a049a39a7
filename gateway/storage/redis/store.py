"""The shared store of several gateway processes: one Redis server, one script a decision.

Every method is one call of one script (``counters.lua``, ``holds.lua`` and ``catch_up.lua``), which
runs alone on the server and by the server's clock, so neither two gateways nor two clocks can
disagree. Amounts are integers below 2^53, which Lua holds exactly: up to 9,007,199 USD in
nano-dollars, or 285 years in microseconds.

What the server needs: Redis 6.2 or later (or Valkey), ``maxmemory-policy noeviction`` (an
evicted counter is a forgotten bill). Every key is ``spillgate:{limits}:...``: one hash tag, so that
on a cluster all lie in one slot and one call's scopes are one atomic step there too; the other
nodes do nothing for us. Every key has a time to live.

A call that is not answered within ``timeout_s`` raises StorageLost, and so do, at once and
for a moment, those that come after it: a slow server slows the gateway down once, not always.
"""

from __future__ import annotations

import asyncio
import functools
import hashlib
import secrets
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import msgspec

from gateway.clock import Clock, SystemClock
from gateway.storage.base import (
    Admitted,
    Claim,
    Counted,
    LimitStatus,
    Refused,
    StorageUnavailable,
    WindowSpent,
)
from gateway.storage.counters import TOTALS
from gateway.storage.redis.breaker import Breaker
from gateway.storage.redis.connection import RedisConnection
from gateway.storage.redis.primary import FixedPrimary, Primary
from gateway.storage.redis.replication import serves_nobody
from gateway.storage.redis.replies import (
    admitted_of,
    number_of,
    numbers_of,
    refused_of,
    statuses_of,
)
from gateway.storage.redis.resp import Reply, ReplyError, pack
from gateway.storage.redis.window_table import WindowTable
from gateway.storage.remote import Alive, CatchUp, Settled, StorageLost
from gateway.store_urls import Address, parse_address
from gateway.types import MICRO, Unit

_SOURCE = b"".join(
    Path(__file__).with_name(part).read_bytes()
    for part in ("counters.lua", "holds.lua", "catch_up.lua")
)
_SHA = hashlib.sha1(_SOURCE, usedforsecurity=False).hexdigest().encode()
KEY = "spillgate:{limits}:holds"
"""One of our keys: the others lie where it lies."""
_KEY = KEY.encode()
_encode = msgspec.msgpack.Encoder().encode

LONGEST_HOLD_S = 31 * 86400.0
"""Longer holds are refused: the record of a hold is kept for two months."""


def _server_time() -> int:
    return 0


class _Restored(Claim, frozen=True):
    """What the ledger knows of a counter, in place of what a call takes."""

    at: int = 0


_AT_ONCE = 500
"""Counters that one script restores: a few milliseconds."""
_TRIES = 3
"""How often a command is sent that was refused before anything was done: to a server that does not
know the script, and to one that is not the primary any more."""
_FILL_S = 2.0
"""The longest that one step of filling the counters may take: no call waits for it, and it is on a
connection of its own."""
_OTHERS_S = 2.5
"""How long others may take to find out that the server has lost its memory, by a ping a second, and
to tell it what they alone know."""
_RECENT_S = 5.0
"""How long an end of a hold is remembered: a replica that takes over may not have heard of it."""


class RedisSharedStore:
    """A ``RemoteStore`` on a Redis server.

    ``place``    a URL or an address, or how to find the primary among several servers.

    ``now_us``   the time instead of the server's, for tests and replays; 0 asks the server.
    ``ledger``   names the ledger whose sums this gateway restores: its own, or the one that it
                 shares with others. What several ledgers know adds up.
    ``emptied``  called when an admission or a ping finds that the server has lost its memory since
                 the last ``restore`` by this gateway, whoever else has called it: time to call
                 ``restore`` again. Called on each of them until then, so it should only start the
                 work; the admission raises StorageUnavailable, for what was spent is not known, and
                 where there are other gateways it does so for some seconds more: what calls hold
                 there, each of them has to tell. Left out: it is admitted. The same holds when
                 another server has taken over, which may lack the last writes.
    ``gateway``  names this process among those that are alive.
    """

    def __init__(
        self,
        place: str | Address | Primary,
        timeout_s: float,
        *,
        clock: Clock | None = None,
        now_us: Callable[[], int] = _server_time,
        ledger: str = "",
        emptied: Callable[[], None] | None = None,
        breaker: Breaker | None = None,
        gateway: str = "",
    ) -> None:
        self._clock = clock or SystemClock()
        primary = _primary(place)
        self._link = RedisConnection(
            primary, timeout_s, self._clock, breaker or Breaker(), self._replaced
        )
        self._filling = RedisConnection(
            primary, max(timeout_s, _FILL_S), self._clock, Breaker(pause_s=0.0, longest_s=0.0)
        )
        self._gateway = gateway or secrets.token_hex(8)
        self._replacements = 0
        """Servers that have taken over, and may lack what was written last; and fills by others
        while this gateway was away, which may lack what it did then."""
        self._known_of = 0
        """Of these: how many there had been when the counters were restored."""
        self._memory = 0
        """The number of the memory that this gateway has filled; 0 before it has filled any."""
        self._fill = 0
        """The number of the last fill of which it was told, whoever has filled."""
        self._behind: list[str] = []
        """What this gateway still holds though there is a row of it, which may be in no sum."""
        self._gateways = 0
        """Those that are alive, as it was last told."""
        self._incomplete_until = 0.0
        self._ended: deque[tuple[float, Settled | str]] = deque()
        self._now_us = now_us
        self._windows = WindowTable(lambda: now_us() / MICRO or (clock or SystemClock()).time())
        self._ledger = ledger.encode()
        self._emptied = emptied

    def __repr__(self) -> str:
        return f"RedisStore({self._link!r})"

    # --- the protocol ---------------------------------------------------------------------------

    async def admit(
        self, hold_id: str, claims: Sequence[Claim], ttl_s: float
    ) -> Admitted | Refused:
        if ttl_s > LONGEST_HOLD_S:
            raise ValueError(f"a hold of {ttl_s:g} s is longer than {LONGEST_HOLD_S:g} s")
        body = _encode((tuple(claims), round(ttl_s * MICRO)))
        undo = functools.partial(self._pack, b"release", hold_id, b"\x90")
        try:
            found = numbers_of(await self._run(b"admit", hold_id, body, claims, undo))
        except asyncio.CancelledError:
            self._undo(undo)
            raise
        if found[0] < 0:
            raise ValueError(f"{hold_id!r} is held already")
        if self._emptied is not None and (why := self._lacks(found[1])):
            if found[0]:
                self._undo(undo)
            raise StorageUnavailable(f"the shared store was emptied; {why}")
        return admitted_of(found, claims) if found[0] else refused_of(found, claims)

    async def extend(self, hold_id: str, unit: Unit, more: int) -> bool:
        if unit not in TOTALS:
            raise ValueError(f"{unit} is not held in amounts")
        reply = await self._run(b"extend", hold_id, _encode((unit, more)))
        if reply == -1:
            await self.ping()
            raise StorageUnavailable(f"{hold_id} is not held any more")
        return reply == 1

    async def reinstate(self, hold_id: str, claims: Sequence[Claim], ttl_s: float) -> None:
        body = _encode((tuple(claims), round(ttl_s * MICRO)))
        await self._run(b"reinstate", hold_id, body, claims)

    @property
    def fills(self) -> int:
        return self._fill

    async def settle(self, hold_id: str, claims: Sequence[Claim], actual: dict[Unit, int]) -> int:
        return await self.settle_written(hold_id, claims, actual, 0)

    async def settle_written(
        self, hold_id: str, claims: Sequence[Claim], actual: dict[Unit, int], fills: int
    ) -> int:
        body = _encode((tuple(claims), actual, fills))
        past_nano = number_of(await self._run(b"settle", hold_id, body, claims))
        if past_nano < 0:
            self._behind.append(hold_id)
            self._look(self._memory)
            return 0
        self._remember(Settled(hold_id, tuple(claims), actual))
        return past_nano

    async def release(self, hold_id: str) -> None:
        await self._run(b"release", hold_id, b"\x90")
        self._remember(hold_id)

    async def restore(self, spent: Iterable[Counted]) -> None:
        totals = [
            _Restored(*one[:3], limit=0, take=one.amount, at=one.at)
            for one in spent
            if one.unit in TOTALS
        ]
        replacements, memory, behind = self._replacements, 0, tuple(self._behind)
        if self._uncertain:
            await self._repeat()
        number = secrets.randbits(50) + 2
        # Short scripts, since each one stops the server; the last one says that all is there.
        for start in range(0, max(1, len(totals)), _AT_ONCE):
            part = totals[start : start + _AT_ONCE]
            last = start + _AT_ONCE >= len(totals)
            body = _encode((part, number, last))
            memory = number_of(await self._run(b"restore", "", body, part, link=self._filling))
        self._known_of, self._fill = replacements, number
        if self._memory and memory != self._memory and self._gateways > 1:
            self._incomplete_until = self._clock.monotonic() + _OTHERS_S
        self._memory = memory
        for hold_id in behind:  # the sums have its row
            await self.settle(hold_id, (), {})
            self._behind.remove(hold_id)

    async def statuses(self, claims: Sequence[Claim]) -> tuple[LimitStatus, ...]:
        if not claims:
            return ()
        found = numbers_of(await self._run(b"statuses", "", _encode(claims), claims))
        return statuses_of(found, claims)

    async def spent(self, claims: Sequence[Claim]) -> tuple[WindowSpent, ...]:
        totals = [claim for claim in claims if claim.unit in TOTALS]
        if not totals:
            return ()
        found = numbers_of(await self._run(b"spent", "", _encode(totals), totals))
        return tuple(
            WindowSpent(claim, found[2 * index], found[2 * index + 1])
            for index, claim in enumerate(totals)
        )

    async def ping(self) -> None:
        self._look(number_of(await self._run(b"known", "", b"\x90")))

    async def beat(self) -> Alive:
        memory, gateways, fill = numbers_of(await self._run(b"beat", self._gateway, b"\x90"))
        self._fill = fill
        if memory == self._memory:  # one that is new has not heard of the others yet
            self._gateways = gateways
        self._look(memory)
        return Alive(gateways)

    async def catch_up(self, missed: CatchUp) -> Alive:
        memory, gateways, past_nano, taken = await self._tell(missed)
        if not taken:
            self._replaced()
        self._look(memory)
        return Alive(gateways, past_nano)

    async def _tell(self, missed: CatchUp) -> list[int]:
        told = (
            *(self._gateway, missed.spent, missed.settled),
            *(missed.released, missed.held, missed.extended, self._fill),
        )
        claims = [claim for group in _claims_of(missed) for claim in group]
        return numbers_of(await self._run(b"catch_up", missed.id, _encode(told), claims))

    async def leave(self) -> None:
        """This gateway ends: the others need not wait until it is known to be gone."""
        await self._run(b"leave", self._gateway, b"\x90")

    @property
    def failing(self) -> str:
        return self._link.failing

    @property
    def degraded(self) -> str:
        return ""

    async def aclose(self) -> None:
        await self._filling.aclose()
        await self._link.aclose()

    # --- a server that takes over -----------------------------------------------------------------

    def _replaced(self) -> None:
        self._replacements += 1

    @property
    def _uncertain(self) -> bool:
        return self._known_of < self._replacements

    def _is_filled(self, memory: int) -> bool:
        return memory != 0 and memory == self._memory and not self._uncertain

    def _look(self, memory: int) -> None:
        lacks = bool(self._behind) or not self._is_filled(memory)
        if self._emptied is not None and lacks:
            self._emptied()

    def _lacks(self, memory: int) -> str:
        """What a memory lacks that was asked; empty where it lacks nothing."""
        if not self._is_filled(memory):
            self._look(memory)
            return "it is filled from the ledger"
        if self._incomplete_until:
            if self._clock.monotonic() < self._incomplete_until:
                return "other gateways tell it what calls hold there"
            self._incomplete_until = 0.0
        return ""

    def _remember(self, end: Settled | str) -> None:
        now = self._clock.monotonic()
        self._ended.append((now, end))
        while self._ended[0][0] < now - _RECENT_S:
            self._ended.popleft()

    async def _repeat(self) -> None:
        """Tells the last ends of holds again, before the ledger's sums: what the server has heard
        it takes once."""
        ends = [end for _, end in self._ended]
        settled = tuple(end for end in ends if isinstance(end, Settled))
        released = tuple(end for end in ends if isinstance(end, str))
        again = CatchUp(id=f"again:{secrets.token_hex(8)}", settled=settled, released=released)
        if not again.empty:
            await self._tell(again)

    # --- the script -----------------------------------------------------------------------------

    async def _run(
        self,
        operation: bytes,
        hold_id: str,
        body: bytes,
        claims: Iterable[Claim] = (),
        undo: Callable[[], bytes] | None = None,
        link: RedisConnection | None = None,
    ) -> Reply:
        """``claims``: those that the script looks at for the first time."""
        link = link or self._link
        told = hold_id.encode(), body, self._ledger, self._windows.of(claims)
        whole, refused = False, ""
        for _ in range(_TRIES):
            reply = await link.send(self._packed(operation, told, whole), undo)
            if not isinstance(reply, ReplyError):
                return reply
            refused = reply.text
            if refused.startswith("NOSCRIPT"):
                whole = True
            elif not link.leave(reply):
                break
        kind = StorageLost if serves_nobody(refused) else StorageUnavailable
        raise kind(f"the shared store refused a command: {refused}")

    def _pack(self, operation: bytes, hold_id: str, body: bytes) -> bytes:
        return self._packed(operation, (hold_id.encode(), body, self._ledger, b""))

    def _packed(self, operation: bytes, told: tuple[bytes, ...], whole: bool = False) -> bytes:
        script = (b"EVAL", _SOURCE) if whole else (b"EVALSHA", _SHA)
        now = b"%d" % self._now_us()
        return pack((*script, b"1", _KEY, operation, now, *told))

    def _undo(self, undo: Callable[[], bytes]) -> None:
        """Nobody waits for the admission any more: gives back what it took, behind it."""
        try:
            self._link.send(undo())
        except StorageUnavailable:
            return  # the hold expires by itself


def _claims_of(missed: CatchUp) -> Iterator[Iterable[Claim]]:
    yield (claim for claim, _ in missed.spent)
    yield from (settled.claims for settled in missed.settled)
    yield from (held.claims for held in missed.held)


def _primary(place: str | Address | Primary) -> Primary:
    if isinstance(place, str):
        place = parse_address(place)
    return FixedPrimary(place) if isinstance(place, Address) else place
