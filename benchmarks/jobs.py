"""How fast gateways take, start and end jobs: ``python -m benchmarks.jobs``.

Several gateways, each a process, share jobs in a PostgreSQL that is started for the run and keeps
what it acknowledges. All jobs are accepted first; then the gateways begin, and what counts is from
there to the last end. In the first part the backends answer at once, which shows how many jobs a
second the gateways can take, start and end; in the second one a job takes a while, so that slots
are what lacks, and each should be used again soon after it is free. What a job takes of CPU, round
trips and writes is told beside the times, which depend on what else runs. Ends with 1 where a bound
is not kept.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import multiprocessing
import os
import random
import sys
import tempfile
import time
from collections import deque
from collections.abc import AsyncIterator, Iterator, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import cast

import msgspec
import uvloop

from adapters.base import AdapterClass, Backend
from adapters.fake import Fake, FakeSettings
from adapters.types import Call, Reply
from benchmarks.command import say
from benchmarks.server_work import SETTINGS, ServerWork, counting, worked
from gateway.app import build_gateway, running
from gateway.clock import SystemClock
from gateway.jobs.accepting import AskedJob
from gateway.opening.stores import JOBS_AT_ONCE
from gateway.policy.model import BackendSpec, Policy
from gateway.policy.reader import Kinds, read_policy_text
from gateway.preferences import NO_PREFERENCES
from gateway.service import Gateway
from gateway.storage.jobs.base import JobsQuery
from gateway.storage.jobs.sql_jobs import SqlJobs
from gateway.storage.memory import MemorySharedStore
from gateway.storage.owner import LedgerOwner
from gateway.storage.postgres.ledger import PostgresLedger
from gateway.storage.postgres.outbox import PostgresStatements
from gateway.storage.sqlite.keys import SqliteKeys
from gateway.store_urls import parse_database
from gateway.types import Principal
from gateway.warm.kept import FileKept
from tests.postgres_server import PostgresServer

JOBS_A_SECOND = 300.0
SLOT_WAITS_S = 0.05
_SAID_S = 1.2
"""Sessions say what they have written once a second."""
_USERS = 20
_POLICY = """
version: 1
server: {tls: "off", access_log: false}
backends:
  home: {kind: fake, slots: SLOTS, concurrency: SLOTS, runs_for: RUNS_FOR, expect: 10ms}
models: {any: {task: infer, backends: [home]}}
plans: {default: {concurrent: 100000}}
jobs: {waiting: 1000000}
"""


class Timed(Fake):
    """Runs in real time, and notes how long its slots were free between jobs."""

    Settings = FakeSettings

    def __init__(self, name: str, settings: FakeSettings, clock: SystemClock) -> None:
        super().__init__(name, settings, clock)
        self.waits: list[float] = []
        self._free: deque[float] = deque()

    async def invoke(self, call: Call) -> Reply:
        if self._free:
            self.waits.append(time.perf_counter() - self._free.popleft())
        await asyncio.sleep(self.runs_for)
        self._free.append(time.perf_counter())
        return Reply(body=b'{"ok":true}')


class Share(msgspec.Struct, frozen=True):
    """What one gateway did."""

    waits: tuple[float, ...]
    cpu_s: float


class Place(msgspec.Struct, frozen=True):
    """Where a gateway has what it needs."""

    url: str
    folder: str
    slots: int
    runs_for: float


def _policy(place: Place) -> Policy:
    kinds = Kinds(load=lambda _: cast(AdapterClass, Timed), known=lambda: ["fake"])
    text = _POLICY.replace("SLOTS", str(place.slots)).replace("RUNS_FOR", str(place.runs_for))
    return read_policy_text(text, {}, kinds=kinds)


def _gateway(place: Place, made: list[Timed]) -> Gateway:
    clock, policy = SystemClock(), _policy(place)
    folder, database = Path(place.folder), parse_database(place.url)

    def make(spec: BackendSpec) -> Backend:
        made.append(Timed(spec.name, spec.settings, clock))
        return made[-1]

    return build_gateway(
        policy,
        clock=clock,
        keys=SqliteKeys(folder / "keys.db", clock=clock),
        ledger=PostgresLedger(database, LedgerOwner(folder / "ledger"), timeout_s=30.0),
        shared=MemorySharedStore(clock),
        make_backend=make,
        load=lambda: policy,
        random_source=random.Random(7),
        kept_workers=FileKept(folder / "kept.json"),
        jobs=SqlJobs(PostgresStatements(database, connections=JOBS_AT_ONCE)),
    )


@contextlib.asynccontextmanager
async def _served(place: Place) -> AsyncIterator[tuple[Gateway, list[Timed]]]:
    made: list[Timed] = []
    async with running(_gateway(place, made)) as gateway:
        yield gateway, made


async def _accept(place: Place, jobs: int) -> float:
    """Seconds that it took, by a gateway that runs none of them."""
    gateway = _gateway(place, [])
    assert gateway.jobs is not None
    begun = time.perf_counter()

    async def some(first: int) -> None:
        assert gateway.jobs is not None
        for number in range(first, jobs, 50):
            user = f"user{number % _USERS}"
            principal = Principal(key_id=f"key_{user}", user=user, plan="default")
            await gateway.jobs.accept(
                AskedJob(
                    model="any",
                    task="infer",
                    body=b'{"x":1}',
                    principal=principal,
                    preferences=NO_PREFERENCES,
                )
            )

    await asyncio.gather(*(some(first) for first in range(50)))
    took_s = time.perf_counter() - begun
    await gateway.jobs.aclose()
    await gateway.aclose()
    return took_s


async def _work(place: Place, orders: Connection) -> Share:
    """Until it is told that all have ended."""
    loop = asyncio.get_running_loop()
    async with _served(place) as (_, made):
        begun = time.process_time()
        orders.send("serves")
        await loop.run_in_executor(None, orders.recv)
        waits = tuple(wait for one in made for wait in one.waits)
        return Share(waits, time.process_time() - begun)


def _process(place: Place, orders: Connection) -> None:
    orders.send(uvloop.run(_work(place, orders)))


async def _all_ended(place: Place, jobs: int) -> float:
    """When the last of them had ended."""
    store = SqlJobs(PostgresStatements(parse_database(place.url)))
    alive = JobsQuery(states=("queued", "starting", "running"), most=1)
    while await store.find(alive):
        await asyncio.sleep(0.05)
    ended = time.perf_counter()
    succeeded = await store.find(JobsQuery(states=("succeeded",), most=jobs + 1))
    assert len(succeeded) == jobs, f"{len(succeeded)} of {jobs} succeeded"
    await store.aclose()
    return ended


@contextlib.contextmanager
def _gateways(places: Sequence[Place]) -> Iterator[list[Connection]]:
    spawn = multiprocessing.get_context("spawn")
    pipes = [spawn.Pipe() for _ in places]
    processes = [
        spawn.Process(target=_process, args=(place, theirs))
        for place, (_, theirs) in zip(places, pipes, strict=True)
    ]
    for process in processes:
        process.start()
    try:
        yield [ours for ours, _ in pipes]
    finally:
        for process in processes:
            process.join(30)


class Part(msgspec.Struct, frozen=True):
    """What one part of the run came to."""

    rate: float
    waits: tuple[float, ...]
    """Of slots, in seconds, in their order."""
    cpu_s: float
    """Of the gateways, a job."""
    server: ServerWork
    """Of the database, a job."""

    def wait(self, share: float) -> float:
        return self.waits[int(len(self.waits) * share)]


def _part(jobs: int, places: Sequence[Place], server: PostgresServer) -> Part:
    accepted_s = uvloop.run(_accept(places[0], jobs))
    say(f"{jobs:,} jobs accepted at {jobs / accepted_s:,.0f} a second")
    with _gateways(places) as gateways:
        for gateway in gateways:
            assert gateway.recv() == "serves"
        before, begun = worked(server), time.perf_counter()
        took_s = uvloop.run(_all_ended(places[0], jobs)) - begun
        time.sleep(_SAID_S)
        work = worked(server).since(before, jobs)
        for gateway in gateways:
            gateway.send("over")
        shares = [cast(Share, gateway.recv()) for gateway in gateways]
    waits = tuple(sorted(wait for share in shares for wait in share.waits))
    return Part(jobs / took_s, waits, sum(share.cpu_s for share in shares) / jobs, work)


def _places(url: str, folder: Path, gateways: int, slots: int, runs_for: float) -> list[Place]:
    folders = [Path(tempfile.mkdtemp(dir=folder)) for _ in range(gateways)]
    return [Place(url, str(one), slots, runs_for) for one in folders]


def _say_work(part: Part) -> None:
    server, cores = part.server, os.cpu_count() or 1
    say(
        f"the database, a job: {server.cpu_s * 1e3:.2f} ms of CPU, {server.statements:.1f} round "
        f"trips, {server.transactions:.2f} transactions, {server.rows:.1f} rows and "
        f"{server.log_bytes:,.0f} bytes written"
    )
    say(f"{cores} cores of their own could do {cores / (part.cpu_s + server.cpu_s):,.0f} a second")


def measure(options: argparse.Namespace, folder: Path) -> bool:
    """Whether the bounds are kept."""
    with PostgresServer(SETTINGS) as server:
        counting(server)
        at_once = _places(server.url("at_once"), folder, options.gateways, 16, 0.0)
        quick = _part(options.jobs, at_once, server)
        say(
            f"taken, started and ended: {quick.rate:,.0f} jobs a second (at least "
            f"{JOBS_A_SECOND:,.0f}), at {quick.cpu_s * 1e3:.2f} ms of the gateways' CPU each"
        )
        _say_work(quick)
        for_a_while = _places(server.url("a_while"), folder, options.gateways, 8, 0.2)
        busy = _part(options.jobs // 10, for_a_while, server)
    late = busy.wait(0.99)
    say(
        f"from a free slot to a start: p50 {busy.wait(0.5) * 1e3:.1f} ms, p99 {late * 1e3:.1f} ms "
        f"(at most {SLOT_WAITS_S * 1e3:.0f})"
    )
    return quick.rate >= JOBS_A_SECOND and late <= SLOT_WAITS_S


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.jobs", description=__doc__)
    parser.add_argument("--jobs", type=int, default=10_000)
    parser.add_argument("--gateways", type=int, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        return 0 if measure(options, Path(folder)) else 1


if __name__ == "__main__":
    sys.exit(main())
