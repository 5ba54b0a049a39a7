"""What it costs to hold a call to its limits, and to write it down: ``python -m benchmarks.money``.

Four parts of some seconds each: the CPU of an admission and its settlement in this process, rows
that are settled in a second in SQLite and in PostgreSQL, and the round trips of a call to Redis. A
call claims in sixteen limits: rate, concurrency, device time and money of a key, its user, its plan
and the gateway. Servers are started for the run, and ended. Ends with 1 where a bound is not kept.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import re
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import msgspec
import uvloop

from benchmarks.command import say
from benchmarks.gateway.table import plain
from benchmarks.ledger import Open, in_postgres, in_sqlite, load, settle_only
from gateway.clock import SystemClock
from gateway.storage.base import Admitted, Claim, SharedStore
from gateway.storage.claims import CallClaims, ClaimTemplate, template_of
from gateway.storage.memory import MemorySharedStore
from gateway.storage.redis.store import RedisSharedStore
from gateway.types import Principal, Unit
from tests.postgres_server import PostgresServer
from tests.redis_server import RedisServer

_HUGE = 10**15
_USERS = 100
_LIMITS: tuple[tuple[Unit, str, int], ...] = (
    ("requests", "hour", 10**9),
    ("concurrent", "", 10**6),
    ("gpu_us", "day", _HUGE),
    ("nano_usd", "month", _HUGE),
)
_ROUNDS = 20
_EVALSHA = re.compile(rb"cmdstat_evalsha:calls=(\d+)")


class Figure(msgspec.Struct, frozen=True):
    """One part's result, and the bound that it must keep."""

    name: str
    measured: float
    unit: str
    bound: float
    at_most: bool = True
    """Else at least."""

    @property
    def kept(self) -> bool:
        """Whether the bound is."""
        return self.measured <= self.bound if self.at_most else self.measured >= self.bound


def table(figures: Sequence[Figure]) -> str:
    rows = [
        (
            one.name,
            f"{one.measured:,.1f}",
            one.unit,
            f"{'≤' if one.at_most else '≥'} {one.bound:,g}",
            "pass" if one.kept else "FAIL",
        )
        for one in figures
    ]
    return "\n".join(plain(("part", "measured", "unit", "bound", "verdict"), rows))


# --- the shared store --------------------------------------------------------------------------


def limits_of(user: int) -> ClaimTemplate:
    """Those of one of the users, compiled as the gateway keeps them."""
    scopes = (f"key:{user}", f"user:{user}", "plan:free", "gateway")
    claims = [
        Claim(scope, unit, window, limit, int(unit in ("requests", "concurrent")))
        for scope in scopes
        for unit, window, limit in _LIMITS
    ]
    return template_of(Principal(key_id=str(user), user=str(user)), claims, scopes[:2])


async def hold_and_settle(
    store: SharedStore, templates: Sequence[ClaimTemplate], calls: int, together: int
) -> int:
    """So many calls, of which some are held at a time; returns how many they were exactly."""

    async def caller(number: int) -> None:
        for step in range(calls // together):
            claims = CallClaims(templates[(number + step) % len(templates)], 1000, 1000)
            name = f"{number}-{step}-{time.monotonic_ns()}"
            assert isinstance(await store.admit(name, claims, 600.0), Admitted)
            await store.settle(name, claims, {"nano_usd": 500, "gpu_us": 500})

    await asyncio.gather(*(caller(number) for number in range(together)))
    return calls // together * together


async def in_process(calls: int) -> Figure:
    """The least of several rounds: other programs can only add to it."""
    store = MemorySharedStore(SystemClock())
    templates = [limits_of(user) for user in range(_USERS)]
    rounds: list[float] = []
    for _ in range(_ROUNDS):
        began = time.thread_time()
        made = await hold_and_settle(store, templates, calls // _ROUNDS, 32)
        rounds.append((time.thread_time() - began) / made * 1e6)
    return Figure("admission + settlement, in process", min(rounds), "µs of CPU", 30)


async def round_trips(server: RedisServer, calls: int) -> Figure:
    """Scripts that the server ran: each is one command, and one answer is waited for."""
    store = RedisSharedStore(server.url, 10.0)
    templates = [limits_of(user) for user in range(_USERS)]
    await hold_and_settle(store, templates, 32, 32)
    before = _scripts(server)
    made = await hold_and_settle(store, templates, calls, 32)
    after = _scripts(server)
    await store.aclose()
    return Figure("Redis, a call", (after - before) / made, "round trips", 2)


def _scripts(server: RedisServer) -> int:
    found = _EVALSHA.search(server.command("INFO", "commandstats"))
    assert found is not None, "no script was run"
    return int(found[1])


# --- the ledger --------------------------------------------------------------------------------


async def rows_a_second(name: str, open_ledger: Open, calls: int) -> Figure:
    """Of 256 callers, whose rows are committed together."""
    ledger = open_ledger("rows")
    await load(ledger, settle_only, callers=256, calls=1_000)
    _, each_s, *_ = await load(ledger, settle_only, callers=256, calls=calls)
    await ledger.aclose()
    return Figure(f"rows settled, {name}", each_s, "a second", 3_000, at_most=False)


# --- the command -------------------------------------------------------------------------------

Part = Callable[[int, Path], Figure]


def _memory(calls: int, _: Path) -> Figure:
    return uvloop.run(in_process(calls))


def _redis(calls: int, _: Path) -> Figure:
    with RedisServer() as server:
        return uvloop.run(round_trips(server, calls // 10))


def _sqlite(calls: int, folder: Path) -> Figure:
    return uvloop.run(rows_a_second("SQLite", partial(in_sqlite, folder), calls))


def _postgres(calls: int, folder: Path) -> Figure:
    with PostgresServer({"shared_buffers": "128MB"}) as server:
        open_ledger = partial(in_postgres, server, folder)
        return uvloop.run(rows_a_second("PostgreSQL", open_ledger, calls))


PARTS: dict[str, Part] = {
    "memory": _memory,
    "sqlite": _sqlite,
    "postgres": _postgres,
    "redis": _redis,
}


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=20_000)
    parser.add_argument("--only", choices=PARTS, action="append", help="this part; may be repeated")
    options = parser.parse_args(arguments)
    figures: list[Figure] = []
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        for name in options.only or PARTS:
            say(name)
            figures.append(PARTS[name](options.calls, folder))
    print(table(figures))
    return 0 if all(one.kept for one in figures) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
