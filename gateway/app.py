"""The composition root: the one room that names concrete stores, adapters and clocks."""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import random
import secrets
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Protocol

from msgspec import Struct

from adapters import class_for
from adapters.base import Backend
from gateway.access_log import AccessLog
from gateway.api.routes import Application, application
from gateway.archive.archivist import Archivist
from gateway.backends.shared_bound import MakeBound, SharedBound
from gateway.backends.use_in_all import MakeUse, UseInAll
from gateway.backends.use_reader import UseReader
from gateway.calls.slow_clients import SlowClients
from gateway.clock import Clock, SystemClock
from gateway.console.door import ConsoleDoor
from gateway.doors.opened import open_doors
from gateway.environment import Environment
from gateway.events.addresses import SystemResolver
from gateway.events.attempts import MessageClient
from gateway.events.notices import Notices
from gateway.files.files import FilePlaces
from gateway.files.opening import open_contents
from gateway.hedging.hedging import hedge_calls
from gateway.leading import LeaderWork
from gateway.log_lines import LineWriter
from gateway.metrics import Metrics, Reading
from gateway.money.settling.settlement import Settler
from gateway.named_files import FileRead, read_backend_files
from gateway.opening.stores import (
    JOBS_AT_ONCE,
    open_instances,
    open_kept,
    open_keys,
    open_last_files,
    open_ledger,
    open_outbox,
    open_shared,
    open_statements,
)
from gateway.policy.model import BackendSpec, Policy
from gateway.policy.reader import load_with_places
from gateway.preflight.startable import check_startable
from gateway.readings import readings
from gateway.realtime.endpoint import routes as realtime_routes
from gateway.responses.keeping import KeptResponses
from gateway.restore import Refill, fill, restore, spenders
from gateway.service import Gateway
from gateway.storage.base import Ledger, SharedStore, StorageUnavailable
from gateway.storage.batches.sql_batches import SqlBatches
from gateway.storage.files.sql_files import SqlFiles
from gateway.storage.jobs.base import JobStore
from gateway.storage.jobs.sql_jobs import SqlJobs
from gateway.storage.key_store import KeyStore
from gateway.storage.outage.store import FallbackStore
from gateway.storage.outbox import Outbox
from gateway.storage.policies.base import PolicyStore
from gateway.storage.policies.memory import MemoryPolicies
from gateway.storage.policies.sql_policies import SqlPolicies
from gateway.storage.responses.base import ResponseStore
from gateway.storage.responses.sql_responses import SqlResponses
from gateway.storage.row_archive import SqlRowArchive
from gateway.storage.schedules.sql_schedules import SqlSchedules
from gateway.storage.streams.base import StreamStore
from gateway.storage.streams.sql_streams import SqlStreams
from gateway.stored_work.serving import StoredWork, serve_stored, stored_running
from gateway.streams.keeping import KeptStreams
from gateway.telemetry.started import Telemetry, dispatcher_of
from gateway.together import Alone, Leadership
from gateway.warm.kept import KeptWorkers
from gateway.warm.prober import Prober

log = logging.getLogger("spillgate")

_RECALL_AGAIN_S = 5.0


class OneOfSeveral(Protocol):
    """What is different in a process that serves with others on one machine."""

    def settings_of(self, spec: BackendSpec) -> Struct:
        """Those with which a backend is made here. Raises SettingError."""
        ...

    def part_of(self, policy: Policy) -> Policy:
        """The policy with this process's part of what clients may keep waiting."""
        ...

    def bound(self, backend: str, calls: int) -> SharedBound:
        """This process's part of a bound on the calls at a backend."""
        ...

    def use(self, backend: str) -> UseInAll:
        """The calls of all processes at a backend."""
        ...

    def open_shared(self, policy: Policy) -> SharedStore:
        """The store that all of them share, where the policy names none."""
        ...


def webhook_client() -> MessageClient:
    """Sends messages to wherever names lead."""
    # Imported here because a gateway without webhooks must not pay for httpx.
    from gateway.events.client import WebhookClient

    return WebhookClient(SystemResolver())


def backend_maker(
    clock: Clock, settings_of: Callable[[BackendSpec], Struct] = lambda spec: spec.settings
) -> Callable[[BackendSpec], Backend]:
    """Makes a backend of the adapter that its kind names; not started yet. ``settings_of``: with
    other settings than the policy's, where this process is one of several."""

    def make(spec: BackendSpec) -> Backend:
        settings = settings_of(spec)
        return class_for(spec.kind, settings)(spec.name, settings, clock)

    return make


def build_gateway(
    policy: Policy,
    *,
    clock: Clock,
    keys: KeyStore,
    ledger: Ledger,
    shared: SharedStore,
    make_backend: Callable[[BackendSpec], Backend],
    load: Callable[[], Policy],
    random_source: random.Random,
    kept_workers: KeptWorkers,
    lines: LineWriter | None = None,
    outbox: Outbox | None = None,
    jobs: JobStore | None = None,
    stored: StoredWork | None = None,
    policies: PolicyStore | None = None,
    streams: StreamStore | None = None,
    responses: ResponseStore | None = None,
    bound: MakeBound | None = None,
    use: MakeUse | None = None,
    client: Callable[[], MessageClient] = webhook_client,
) -> Gateway:
    """Everything but the web, over the stores and backends that it is given. ``lines`` is where
    calls that ended are logged; ``client`` sends the messages of ``outbox``."""
    metrics, clients = Metrics(), policy.server.clients
    slow = SlowClients(shared, per_key=clients.per_key, in_all=clients.in_all)
    settler = Settler(shared=shared, ledger=ledger, clock=clock, metrics=metrics)
    dispatcher = dispatcher_of(policy)(
        shared=shared,
        ledger=ledger,
        settler=settler,
        clock=clock,
        metrics=metrics,
        random_source=random_source,
        slow_clients=slow,
    )
    gateway = Gateway(
        policy=policy,
        shared=shared,
        ledger=ledger,
        keys=keys,
        dispatcher=dispatcher,
        settler=settler,
        metrics=metrics,
        access_log=AccessLog(lines if policy.server.access_log else None, clock),
        clock=clock,
        make_backend=make_backend,
        load_policy=load,
        kept_workers=kept_workers,
        bound=bound,
        use=use,
        policies=policies or MemoryPolicies(clock.time),
    )
    gateway.hedges = hedge_calls(dispatcher, ledger, clock, metrics)
    metrics.observe(functools.partial(readings, gateway))
    if outbox is not None:
        gateway.notices = _notices(gateway, outbox, client, random_source)
    _keep(gateway, jobs, stored, streams, responses)
    return gateway


def _keep(
    gateway: Gateway,
    jobs: JobStore | None,
    stored: StoredWork | None,
    streams: StreamStore | None,
    responses: ResponseStore | None,
) -> None:
    """What callers leave here."""
    if jobs is not None:
        gateway.serve_jobs(jobs)
    if stored is not None:
        serve_stored(gateway, stored)
    if streams is not None:
        gateway.streams = KeptStreams(streams, gateway.clock)
    settings = gateway.active.policy.store.responses
    if responses is not None and settings is not None:
        gateway.responses = KeptResponses(responses, settings, gateway.clock)


def _notices(
    gateway: Gateway,
    outbox: Outbox,
    client: Callable[[], MessageClient],
    random_source: random.Random,
) -> Notices:
    return Notices(
        outbox=outbox,
        spending=gateway.settler.spending,
        shared=gateway.shared,
        keys=gateway.keys,
        policy=lambda: gateway.active.policy,
        client=client,
        clock=gateway.clock,
        metrics=gateway.metrics,
        draw=random_source,
    )


@contextlib.asynccontextmanager
async def running(gateway: Gateway, leadership: Leadership | None = None) -> AsyncIterator[Gateway]:
    """Restores what the ledger knows, starts the backends, and closes everything at the end.
    ``leadership``: where this process serves with others."""
    clock = gateway.clock
    leading = LeaderWork(gateway, leadership or Alone(secrets.token_hex(6)))
    try:
        await gateway.choose_policy()
        await restore(gateway)
        gateway.fill = functools.partial(fill, gateway)
        await gateway.start()
        if gateway.notices is not None:
            await gateway.notices.start()
            gateway.run_forever(_recall(gateway, gateway.notices))
        reader = UseReader(
            backends=lambda: tuple(gateway.active.backends.values()),
            ledger=gateway.ledger,
            clock=clock,
        )
        await reader.read()
        gateway.run_forever(reader.run())
        gateway.run_forever(gateway.policies.follow(clock))
        gateway.run_forever(Prober(active=lambda: gateway.active, clock=clock).run())
        leading.start()
        gateway.run_forever(gateway.last_uses.run())
        if gateway.archivist is not None:
            gateway.run_forever(gateway.archivist.run())
        try:
            async with stored_running(gateway):
                yield gateway
        finally:
            if gateway.streams is not None:
                await gateway.streams.aclose()
            if gateway.responses is not None:
                await gateway.responses.aclose()
            if gateway.jobs is not None:
                await gateway.jobs.aclose()
            await leading.aclose()
            if gateway.notices is not None:
                await gateway.notices.aclose()
    finally:
        await gateway.last_uses.write()
        await gateway.aclose()


async def _recall(gateway: Gateway, notices: Notices) -> None:
    while True:
        try:
            notices.recall(await spenders(gateway))
            return
        except StorageUnavailable as unavailable:
            log.error("what was spent before is not known: %s; budgets wait", unavailable)
            await gateway.clock.sleep(_RECALL_AGAIN_S)


def web(
    gateway: Gateway,
    run: Callable[[Gateway], contextlib.AbstractAsyncContextManager[Gateway]] = running,
) -> Application:
    """The ASGI application over a gateway; its lifespan starts and ends the gateway, by ``run``."""
    telemetry = Telemetry(gateway)

    @contextlib.asynccontextmanager
    async def lifespan() -> AsyncIterator[None]:
        async with run(gateway), telemetry:
            yield

    opened = open_doors(gateway)
    routes = [*opened.routes, *realtime_routes(gateway)]
    console = ConsoleDoor(gateway)
    return application(gateway, lifespan, console, routes, opened.doors, telemetry.around)


def from_path(
    path: Path, lines: LineWriter, among: OneOfSeveral | None = None, clock: Clock | None = None
) -> Gateway:
    """A gateway as the policy at ``path`` wants it, which logs to ``lines``. Raises PolicyError."""
    clock, refill, secrets = clock or SystemClock(), Refill(), dict[str, str]()
    make = backend_maker(clock) if among is None else backend_maker(clock, among.settings_of)

    def load(known: Policy | None) -> Policy:
        environ = Environment(os.environ)
        policy, places = load_with_places(path, environ)
        check_startable(policy, places, make, known=known, files=among is None)
        secrets.clear()
        secrets.update(environ.files)
        return policy if among is None else among.part_of(policy)

    policy = load(None)
    lines.as_json = policy.server.log == "json"
    ledger, statements = open_ledger(policy), open_statements(policy)[0]
    if among is not None and policy.store.shared is None:
        shared = among.open_shared(policy)
    else:
        shared = open_shared(policy, clock, ledger, refill)
    gateway = build_gateway(
        policy,
        clock=clock,
        keys=open_keys(policy, clock),
        ledger=ledger,
        shared=shared,
        make_backend=make,
        load=lambda: load(gateway.active.policy),
        random_source=random.SystemRandom(),
        kept_workers=open_kept(policy),
        lines=lines,
        outbox=open_outbox(policy),
        jobs=SqlJobs(open_statements(policy, JOBS_AT_ONCE)[0]),
        policies=SqlPolicies(statements),
        stored=StoredWork(
            FilePlaces(SqlFiles(open_statements(policy)[0]), open_contents(policy, clock)),
            SqlBatches(open_statements(policy)[0]),
            SqlSchedules(open_statements(policy)[0]),
        ),
        streams=SqlStreams(open_statements(policy)[0]),
        responses=SqlResponses(open_statements(policy)[0]) if policy.store.responses else None,
        bound=None if among is None else among.bound,
        use=None if among is None else among.use,
    )
    gateway.policies.last_files = open_last_files(policy)
    gateway.rented = open_instances(policy, statements)
    gateway.file_readers += [
        lambda: [FileRead(f"the secret {name}", file) for name, file in secrets.items()],
        lambda: read_backend_files(gateway.active.policy),
    ]
    gateway.metrics.observe(lambda: [_lines_dropped(lines)])
    rows = SqlRowArchive(*open_statements(policy))
    gateway.archivist = Archivist(rows, policy.store.keep, clock)
    gateway.metrics.observe(gateway.archivist.readings)
    if isinstance(gateway.shared, FallbackStore):
        gateway.metrics.observe(gateway.shared.readings)
    refill.serves(gateway)
    return gateway


def _lines_dropped(lines: LineWriter) -> Reading:
    text = "Lines of every kind that nobody read in time"
    return "spillgate_log_lines_dropped", text, {}, float(lines.dropped)
