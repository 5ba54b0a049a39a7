"""The shared store of several gateway processes: one Redis server, one script a decision.

Every method is one call of one script (``counters.lua`` and ``holds.lua``), which runs alone on
the server and by the server's clock, so neither two gateways nor two clocks can disagree.
Amounts are integers below 2^53, which Lua holds exactly: up to 9,007,199 USD in nano-dollars,
or 285 years in microseconds.

What the server needs: Redis 6.2 or later (or Valkey), ``maxmemory-policy noeviction`` (an
evicted counter is a forgotten bill). Every key is ``spillgate:{limits}:...``: one hash tag, so
a cluster keeps them on one node; give the URL of that node's primary, since redirections are
not followed. Every key has a time to live.

A call that is not answered within ``timeout_s`` raises StorageUnavailable, and so do, at once and
for a moment, those that come after it: a slow server slows the gateway down once, not always.
"""

from __future__ import annotations

import asyncio
import functools
import hashlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import msgspec

from gateway.clock import Clock, SystemClock
from gateway.storage.base import Admitted, Claim, LimitStatus, Refused, StorageUnavailable
from gateway.storage.counters import TOTALS
from gateway.storage.redis.breaker import Breaker
from gateway.storage.redis.connection import RedisConnection
from gateway.storage.redis.resp import Reply, ReplyError, pack
from gateway.store_urls import Address, parse_address
from gateway.types import MICRO, Unit

_SOURCE = b"".join(
    Path(__file__).with_name(part).read_bytes() for part in ("counters.lua", "holds.lua")
)
_SHA = hashlib.sha1(_SOURCE, usedforsecurity=False).hexdigest().encode()
_KEY = b"spillgate:{limits}:holds"
_NUMBERS = msgspec.msgpack.Decoder(list[int])
_encode = msgspec.msgpack.Encoder().encode

LONGEST_HOLD_S = 31 * 86400.0
"""Longer holds are refused: the record of a hold is kept for two months."""


def _server_time() -> int:
    return 0


_AT_ONCE = 500
"""Counters that one script restores: a few milliseconds."""


class RedisSharedStore:
    """A ``SharedStore`` on a Redis server.

    ``now_us``   the time instead of the server's, for tests and replays; 0 asks the server.
    ``ledger``   names the ledger whose sums this gateway restores: its own, or the one that it
                 shares with others. What several ledgers know adds up.
    ``emptied``  called when an admission or a ping finds that the server has lost its memory since
                 the last ``restore``: time to call ``restore`` again. Called on each of them until
                 then, so it should only start the work; the admission raises StorageUnavailable,
                 for what was spent is not known. Left out: it is admitted.
    """

    def __init__(
        self,
        url: str | Address,
        timeout_s: float,
        *,
        clock: Clock | None = None,
        now_us: Callable[[], int] = _server_time,
        ledger: str = "",
        emptied: Callable[[], None] | None = None,
        breaker: Breaker | None = None,
    ) -> None:
        address = parse_address(url) if isinstance(url, str) else url
        self._link = RedisConnection(
            address, timeout_s, clock or SystemClock(), breaker or Breaker()
        )
        self._now_us = now_us
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
            found = _numbers(await self._run(b"admit", hold_id, body, undo))
        except asyncio.CancelledError:
            self._undo(undo)
            raise
        if found[0] < 0:
            raise ValueError(f"{hold_id!r} is held already")
        if not found[1] and self._emptied is not None:
            self._emptied()
            if found[0]:
                self._undo(undo)
            raise StorageUnavailable("the shared store was emptied; it is filled from the ledger")
        return _admitted(found, claims) if found[0] else _refused(found, claims)

    async def extend(self, hold_id: str, unit: Unit, more: int) -> bool:
        if unit not in TOTALS:
            raise ValueError(f"{unit} is not held in amounts")
        reply = await self._run(b"extend", hold_id, _encode((unit, more)))
        if reply == -1:
            await self.ping()
            raise StorageUnavailable(f"{hold_id} is not held any more")
        return reply == 1

    async def reinstate(self, hold_id: str, claims: Sequence[Claim], ttl_s: float) -> None:
        await self._run(b"reinstate", hold_id, _encode((tuple(claims), round(ttl_s * MICRO))))

    async def settle(self, hold_id: str, claims: Sequence[Claim], actual: dict[Unit, int]) -> int:
        reply = await self._run(b"settle", hold_id, _encode((tuple(claims), actual)))
        return int(reply) if isinstance(reply, (bytes, int)) else 0

    async def release(self, hold_id: str) -> None:
        await self._run(b"release", hold_id, b"\x90")

    async def restore(self, spent: Iterable[tuple[str, Unit, str, int]]) -> None:
        totals = [
            Claim(scope, unit, window, 0, amount)
            for scope, unit, window, amount in spent
            if unit in TOTALS
        ]
        # Short scripts, since each one stops the server; the last one says that all is there.
        for start in range(0, max(1, len(totals)), _AT_ONCE):
            part = totals[start : start + _AT_ONCE]
            last = start + _AT_ONCE >= len(totals)
            await self._run(b"restore", "", _encode((part, last)))

    async def statuses(self, claims: Sequence[Claim]) -> tuple[LimitStatus, ...]:
        if not claims:
            return ()
        found = _numbers(await self._run(b"statuses", "", _encode(claims)))
        return tuple(
            LimitStatus(claim, found[2 * index], found[2 * index + 1] / MICRO)
            for index, claim in enumerate(claims)
        )

    async def ping(self) -> None:
        if await self._run(b"known", "", b"\x90") == 0 and self._emptied is not None:
            self._emptied()

    @property
    def failing(self) -> str:
        return self._link.failing

    async def aclose(self) -> None:
        await self._link.aclose()

    # --- the script -----------------------------------------------------------------------------

    async def _run(
        self,
        operation: bytes,
        hold_id: str,
        body: bytes,
        undo: Callable[[], bytes] | None = None,
    ) -> Reply:
        reply = await self._link.send(self._pack(operation, hold_id, body), undo)
        if isinstance(reply, ReplyError) and reply.text.startswith("NOSCRIPT"):
            reply = await self._link.send(self._pack(operation, hold_id, body, whole=True), undo)
        return _checked(reply)

    def _pack(self, operation: bytes, hold_id: str, body: bytes, whole: bool = False) -> bytes:
        script = (b"EVAL", _SOURCE) if whole else (b"EVALSHA", _SHA)
        now = b"%d" % self._now_us()
        return pack((*script, b"1", _KEY, operation, now, hold_id.encode(), body, self._ledger))

    def _undo(self, undo: Callable[[], bytes]) -> None:
        """Nobody waits for the admission any more: gives back what it took, behind it."""
        try:
            self._link.send(undo())
        except StorageUnavailable:
            return  # the hold expires by itself


def _checked(reply: Reply) -> Reply:
    if isinstance(reply, ReplyError):
        raise StorageUnavailable(f"the shared store refused a command: {reply.text}")
    return reply


def _numbers(reply: Reply) -> list[int]:
    if not isinstance(reply, bytes):
        raise StorageUnavailable(f"the shared store gave an answer of another kind: {reply!r}")
    return _NUMBERS.decode(reply)


def _admitted(found: list[int], claims: Sequence[Claim]) -> Admitted:
    return Admitted(
        tuple(
            [
                LimitStatus(claims[found[at]], found[at + 1], found[at + 2] / MICRO)
                for at in range(2, len(found), 3)
            ]
        )
    )


def _refused(found: list[int], claims: Sequence[Claim]) -> Refused:
    _, _, index, remaining, reset, retry = found
    return Refused(LimitStatus(claims[index], remaining, reset / MICRO), retry / MICRO)
