"""Warm workers on this machine: one app of the local runtime in worker processes of its own.

    home: {kind: local, app: examples/embeddings.py:app, workers: 1}
    idle: {kind: local, app: examples/embeddings.py:app, workers: {min: 0, max: 2}}
    many: {kind: local, app: examples/embeddings.py:app, workers: {engine: ray, replicas: {max: 8}}}
    warm: {kind: local, sockets: /run/spillgate/embeddings}

The gateway starts a supervisor process, which starts the workers; calls go straight to a worker
by its Unix socket. A worker that dies fails its calls at once and is started again. With Ray the
workers are on the machines of a cluster, come and go with the load, and are reached by TCP. With
``sockets`` somebody else starts them, and they outlive the gateway.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from functools import partial

import msgspec

from adapters.base import Clock
from adapters.errors import BackendError, FailureClass
from adapters.local.answers import Chunks, done_of, end_of, hear_of_line, usage_of
from adapters.local.hosting import LocalHost, guest_of, host_of
from adapters.local.ray_settings import PROGRAM, RayWorkers
from adapters.local.settings import LocalSettings
from adapters.local.starting import arguments_of
from adapters.routes import OPENAI_ROUTES, PLAIN_ROUTES
from adapters.types import (
    JSON_TYPE,
    Call,
    Capabilities,
    ModelMemory,
    Probe,
    Reply,
    Task,
    Usage,
    WorkerMemory,
)
from adapters.waiting import before
from local_runtime.client.attached import AttachedWorkers
from local_runtime.client.autoscaler import Autoscaler
from local_runtime.client.connection import WorkerConnection
from local_runtime.client.managed import ManagedWorkers
from local_runtime.client.pending_call import CANCELLED, LATE, PendingCall
from local_runtime.client.promises import promise_of
from local_runtime.client.worker_environment import worker_environment
from local_runtime.client.workers import KEEP_S, Workers
from local_runtime.protocol.events import CONTENT_TYPE, CacheStatus, Done, Memory, Ping
from local_runtime.protocol.wire import ENVELOPE, FrameTooLarge

PING_S = 60.0
_DECLARED: frozenset[Task] = frozenset(("other",))
"""Calls to routes that the policy names: which of them the app has is known when one comes."""
_LATE_S = 5.0
"""A start that is later than that, and takes twice as long as it should, is waited for no more."""


class Local:
    """The backend of one app: see ``adapters.base.Backend``. Cancellable, Warmable,
    ScalesItself, ReportsStarts, ReportsMemory, ReportsModels, LoadsModels and SharesWorkers."""

    Settings: type[msgspec.Struct] = LocalSettings

    def __init__(self, name: str, settings: LocalSettings, clock: Clock) -> None:
        self.name = name
        self._clock = clock
        own = settings.handler or "/"
        self._routes: dict[Task, str] = {
            **OPENAI_ROUTES,
            **PLAIN_ROUTES,
            "infer": own,
            "infer_file": own,
        }
        self._capabilities = Capabilities(
            tasks=_DECLARED.union(self._routes), max_request_bytes=settings.max_message - ENVELOPE
        )
        self._known: frozenset[str] = frozenset()
        self._patience_s = settings.wait_for_start
        self._attached = settings.sockets is not None
        self._has_replicas = isinstance(settings.workers, RayWorkers)
        self._workers, self._autoscaler = _workers(name, settings, clock)

    def __repr__(self) -> str:
        waited_for = sum(
            not pending.left
            for connection in self._workers.connections
            for pending in connection.calls.values()
        )
        return f"<Local {self.name}: {waited_for} active>"

    @classmethod
    def class_of(cls, settings: LocalSettings) -> type[Local]:
        """Of a backend whose workers come and go: it can be told how many to keep."""
        elastic = settings.sockets is None and not isinstance(settings.workers, int)
        return ElasticLocal if elastic else Local

    @classmethod
    def host(cls, name: str, settings: LocalSettings, clock: Clock) -> LocalHost | None:
        return host_of(name, settings, clock)

    @classmethod
    def guest(cls, settings: LocalSettings, folder: str) -> LocalSettings:
        return guest_of(settings, folder)

    @property
    def capabilities(self) -> Capabilities:
        """Every task, until a worker has said which routes its app has."""
        connections = self._workers.connections
        if connections and connections[0].facts.routes is not self._known:
            self._known = connections[0].facts.routes
            self._capabilities = msgspec.structs.replace(
                self._capabilities,
                tasks=_DECLARED.union(
                    task for task, route in self._routes.items() if route in self._known
                ),
                max_request_bytes=connections[0].facts.max_frame - ENVELOPE,
                one_by_one=connections[0].slots == 1 and connections[0].residency is None,
            )
        return self._capabilities

    @property
    def slots(self) -> int:
        return self._workers.slots

    @property
    def spares(self) -> int:
        """Spare processes that wait to take a worker's place."""
        return self._workers.spares

    @property
    def start_stages(self) -> Mapping[str, float]:
        return self._workers.start_stages

    def ready_in(self) -> float | None:
        expected = self._workers.ready_in()
        if expected is None or self._patience_s is None:
            return expected or None
        return expected if self._patience_s and expected <= self._patience_s else None

    async def start(self) -> None:
        self._workers.start()
        if self._autoscaler is not None:
            self._autoscaler.start()

    def watch(self, demand: Callable[[], int]) -> None:
        if self._autoscaler is not None:
            self._autoscaler.demand = demand

    async def invoke(self, call: Call) -> Reply:
        route = self._routes[call.task] if call.declared is None else _path_of(call.declared)
        cold_s = 0.0 if self._workers.slots else await self._until_ready(call)
        pending = await self._ask(call, route, cold_s)
        if pending.lost and self._has_replicas and self._workers.slots:
            pending = await self._ask(call, route, cold_s)  # by a replica, once
        if pending.outputs:
            return self._stream(pending)
        if pending.head is not None:
            return self._promise(pending, pending.head.status)
        done = done_of(pending)
        if pending.outputs is not None:
            return self._stream(pending)
        if done.headers:
            return _own_type(pending, done)
        return Reply(body=done.data, usage=usage_of(pending, done))

    async def cancel(self, call_id: str) -> Usage | None:
        for connection in self._workers.connections:
            for pending in connection.calls.values():
                if pending.call_id == call_id:
                    return await self._cancel(pending)
        return None

    async def ping(self) -> Usage:
        """Runs the app's warm-up sample in the worker with the most room."""
        connection = self._pick(None)
        pending = connection.ask(Ping(0), self._clock.monotonic() + PING_S)
        try:
            await pending.wait()
        except asyncio.CancelledError:
            pending.leave(self._clock.monotonic() + KEEP_S)
            raise
        return usage_of(pending, done_of(pending))

    async def probe(self) -> Probe:
        connections = self._workers.connections
        return Probe(
            ready=self._workers.slots > 0,
            warm_workers=len(connections),
            starting_workers=self._workers.starting,
            queued=sum(
                max(0, len(connection.calls) - connection.slots) for connection in connections
            ),
            stuck=self._workers.failed_starts > 0,
            detail=self._workers.detail,
        )

    def memory(self) -> Mapping[str, WorkerMemory]:
        connections = self._workers.connections
        return {
            connection.name: _memory_of(connection.facts.memory)
            for connection in connections
            if connection.facts.memory is not None
        }

    def stock(self) -> Mapping[str, Mapping[str, ModelMemory]]:
        connections = self._workers.connections
        return {
            connection.name: _stock_of(connection.facts.cache)
            for connection in connections
            if connection.facts.cache is not None
        }

    @property
    def loadable(self) -> Mapping[str, int]:
        return self._workers.times.sizes

    def load_in(self, model: str) -> float | None:
        return self._workers.load_in(model)

    async def aclose(self) -> None:
        if self._autoscaler is not None:
            await self._autoscaler.aclose()
        await self._workers.aclose()

    async def _ask(self, call: Call, route: str, cold_s: float) -> PendingCall:
        """Sends the call to a worker and waits for an output or the answer."""
        connection = self._pick(route, call.model)
        while connection.socket.congested:
            await self._until_read(connection, call.deadline)
            connection = self._pick(route, call.model)
        pending = self._send(connection, call, route)
        pending.cold_s = cold_s
        try:
            await pending.wait()
        except asyncio.CancelledError:
            pending.leave(self._clock.monotonic() + KEEP_S)
            await hear_of_line(pending, call.progress, self._clock)
            raise
        if pending.answer is LATE:
            await hear_of_line(pending, call.progress, self._clock)
        return pending

    async def _until_ready(self, call: Call) -> float:
        """Waits as long as the settings allow for a worker; the seconds that it took. Raises
        TIMEOUT at the call's own deadline."""
        patience_s = self._patience()
        if not patience_s:
            return 0.0
        begun = self._clock.monotonic()
        until = min(call.deadline, begun + patience_s)
        call.progress.queued_until = until  # nothing of it runs meanwhile
        try:
            await self._workers.wait_ready(until)
        finally:
            now = call.progress.queued_until = self._clock.monotonic()
        if now >= call.deadline:
            raise BackendError(FailureClass.TIMEOUT, "the model did not load within the deadline")
        return now - begun

    def _patience(self) -> float:
        """Seconds that a call waits now for a worker."""
        if self._patience_s is not None:
            return self._patience_s
        expected = self._workers.ready_in()
        return 2 * expected + _LATE_S if expected else 0.0

    async def _until_read(self, connection: WorkerConnection, deadline: float) -> None:
        """Waits until a worker has read what it was sent. Raises OVERLOADED at the deadline: the
        call is with nobody yet."""
        try:
            await before(self._clock, deadline, connection.socket.drained())
        except TimeoutError:
            raise BackendError(
                FailureClass.OVERLOADED, "the worker did not read on within the call's deadline"
            ) from None

    def _pick(self, route: str | None, model: str = "") -> WorkerConnection:
        """The ready worker with the most room. Raises LOADING or UNSUPPORTED."""
        connection = self._workers.least_loaded(model)
        if connection is None:
            raise BackendError(
                FailureClass.LOADING,
                "the model is loading",
                retry_after=self._workers.retry_after(),
                detail=self._workers.detail,
            )
        if route is not None and route not in connection.facts.routes:
            text = f"the app of this backend has no handler for {route}"
            raise BackendError(FailureClass.UNSUPPORTED, text)
        return connection

    def _send(self, connection: WorkerConnection, call: Call, route: str) -> PendingCall:
        try:
            pending = connection.run(
                call.id,
                route,
                call.body,
                call.stream,
                call.deadline,
                call.model,
                () if call.content_type == JSON_TYPE else ((CONTENT_TYPE, call.content_type),),
            )
        except FrameTooLarge:
            limit = self._capabilities.max_request_bytes
            text = f"the request is larger than the {limit} bytes that this backend takes"
            raise BackendError(FailureClass.TOO_LARGE, text) from None
        if pending.model:
            pending.progress = call.progress
        return pending

    def _stream(self, pending: PendingCall) -> Reply:
        chunks = Chunks(pending, self._clock.monotonic, KEEP_S)
        return Reply(content_type="text/event-stream", chunks=chunks)

    def _promise(self, pending: PendingCall, status: int) -> Reply:
        """Of a background call, which goes on."""
        return Reply(
            body=promise_of(pending.call_id, started=status == 200),
            status=status,
            rest=partial(end_of, pending),
            outlives=self._attached,
        )

    async def _cancel(self, pending: PendingCall) -> Usage | None:
        if not pending.left:
            pending.give_up(CANCELLED, self._clock.monotonic() + KEEP_S)
        last = await pending.wait_late()
        return None if last is None else usage_of(pending, last)


class ElasticLocal(Local):
    """Scalable too: its workers come and go between two bounds."""

    async def keep_workers(self, minimum: int) -> None:
        """No fewer, within the bounds, from now on."""
        assert self._autoscaler is not None
        self._autoscaler.hold(minimum)


def _path_of(declared: tuple[str, str]) -> str:
    """Of an app, which has no methods and reads no query."""
    return declared[1].partition("?")[0]


def _memory_of(memory: Memory) -> WorkerMemory:
    if not memory.device:
        return WorkerMemory(resident=memory.resident or None)
    return WorkerMemory(
        resident=memory.resident or None,
        device_allocated=memory.allocated,
        device_reserved=memory.reserved,
        device_peak=memory.peak,
    )


def _stock_of(stock: CacheStatus) -> dict[str, ModelMemory]:
    return {
        held.model: ModelMemory(
            resident=0 if held.state == "out" else held.size,
            loads=held.loads,
            evictions=held.evictions,
            failures=held.failures,
            load_s=held.load_s,
        )
        for held in stock.models
    }


def _own_type(pending: PendingCall, done: Done) -> Reply:
    """An answer whose handler chose its Content-Type."""
    types = (value for name, value in done.headers if name.lower() == "content-type")
    return Reply(
        body=done.data,
        content_type=next(types, "application/json"),
        usage=usage_of(pending, done),
    )


def _workers(name: str, settings: LocalSettings, clock: Clock) -> tuple[Workers, Autoscaler | None]:
    """The workers, and who says how many there are where that may change."""
    limit = settings.max_message
    if settings.sockets is not None:
        return Workers(name, AttachedWorkers(settings.sockets, clock), limit, clock), None
    arguments = arguments_of(name, settings)
    environment = worker_environment(os.environ, settings.added_environment)
    if isinstance(settings.workers, RayWorkers):
        placed = ManagedWorkers(arguments, clock, PROGRAM, environment=environment)
        workers = Workers(name, placed, limit, clock)
        return workers, Autoscaler(workers, placed.keep, settings.workers.replicas.bounds, clock)
    managed = ManagedWorkers(arguments, clock, environment=environment, python=settings.python)
    workers = Workers(name, managed, limit, clock)
    if isinstance(settings.workers, int):
        return workers, None
    bounds = settings.workers.bounds
    return workers, Autoscaler(workers, managed.keep, bounds, clock, places=bounds.most)
