"""The processes: each one a whole gateway, as the service puts it together, which may be killed."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from adapters.base import Backend
from gateway.api.calls.call_requests import serve
from gateway.api.requests.request import ParsedRequest, RequestContext, respond_json
from gateway.app import build_gateway, running
from gateway.events.attempts import MessageClient
from gateway.policy.model import BackendSpec
from gateway.restore import Refill
from gateway.service import Gateway
from gateway.storage.audit import Act, AuditEntry, AuditQuery
from gateway.storage.base import (
    SharedStore,
    StorageUnavailable,
)
from gateway.storage.jobs.sql_jobs import SqlJobs
from gateway.storage.key_records import KeyRecord
from gateway.storage.key_store import KeyStore, WhyNot
from gateway.storage.memory import MemorySharedStore
from gateway.storage.sql_outbox import SqlOutbox
from gateway.types import Principal
from gateway.warm.kept import MemoryKept
from tests.simulation.jobs.database import LinkedStatements
from tests.simulation.jobs.depot import Depot, DepotBackend
from tests.simulation.jobs.receivers import ReceiverClient
from tests.simulation.ledger_server import LedgerLink
from tests.simulation.loop import Process
from tests.simulation.network import Link
from tests.simulation.platforms import (
    BugOfAdapter,
    SimulatedBackend,
    SimulatedSettings,
    StoppableBackend,
)
from tests.simulation.shared_server import SharedLink

if TYPE_CHECKING:
    from tests.simulation.callers import Connection
    from tests.simulation.world import World

_LEDGER_S = 1.0
_SHARED_S = 0.25


class NoKeys(KeyStore):
    """Who calls is known already."""

    failing = ""

    def find(self, key: str) -> Principal | None:
        return None

    def of_digest(self, digest: bytes) -> Principal | None:
        return None

    def why_not(self, key: str) -> WhyNot:
        return "unknown"

    def ends_at(self, key: str) -> float | None:
        return None

    def create(
        self,
        principal: Principal,
        key: str,
        *,
        expires_at: float | None = None,
        act: Act | None = None,
    ) -> KeyRecord:
        raise NotImplementedError

    def revoke(self, key_id: str, *, act: Act | None = None) -> bool:
        raise NotImplementedError

    def rotate(
        self, key_id: str, key: str, *, grace_s: float = 0.0, act: Act | None = None
    ) -> KeyRecord:
        raise NotImplementedError

    def record(self, act: Act) -> None:
        raise NotImplementedError

    def audit(self, query: AuditQuery) -> list[AuditEntry]:
        return []

    def note_uses(self, uses: Mapping[str, float]) -> None:
        raise NotImplementedError

    def ending(self, until: float) -> Sequence[KeyRecord]:
        return ()

    def tokens(self, key_id: str | None = None, id: str | None = None) -> list[KeyRecord]:
        return []

    def list(self) -> list[KeyRecord]:
        return []

    def close(self) -> None:
        pass


class GatewayProcess:
    """One life of one gateway, from its start to its end or death."""

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.process = Process(name)
        self.gateway: Gateway | None = None
        """Once it serves."""
        self.has = len(world.changes) - 1
        """The number of the policy that is in force here."""
        self.connections: list[Connection] = []
        self._requests: set[asyncio.Task[None]] = set()
        self._asked_to_end = asyncio.Event()
        self.main = self.process.begins(world.loop, self._run())

    @property
    def serves(self) -> bool:
        """Whether it takes calls."""
        is_up = self.process.is_alive and self.gateway is not None
        return is_up and not self._asked_to_end.is_set()

    # --- what a process does ----------------------------------------------------------------------

    async def _run(self) -> None:
        world, refill = self.world, Refill()
        gateway = self._built(refill)
        refill.serves(gateway)
        try:
            async with running(gateway):
                self.gateway = gateway
                self._has_filled()
                await self.reload()
                world.note(f"{self.process.name} serves")
                await self._asked_to_end.wait()
                await self._end_requests()
        except StorageUnavailable as unavailable:
            world.note(f"{self.process.name} does not start: {unavailable}")
        except Exception as error:
            world.blame(f"{self.process.name} ends with {error!r}")
        finally:
            self.gateway = None
        self._is_gone("has ended")

    def _built(self, refill: Callable[[], None]) -> Gateway:
        world, statements = self.world, self._statements()
        return build_gateway(
            world.changes[self.has].knobs.policy(),
            clock=world.clock,
            keys=NoKeys(),
            ledger=LedgerLink(world.ledger, self.process, _LEDGER_S),
            shared=self._shared(refill),
            make_backend=self._make,
            load=world.knobs.policy,
            random_source=random.Random(world.draw.random()),
            kept_workers=MemoryKept(),
            jobs=None if statements is None else SqlJobs(statements),
            outbox=None if statements is None else SqlOutbox(statements),
            client=self._client,
        )

    def _statements(self) -> LinkedStatements | None:
        ledger = self.world.ledger
        if self.world.jobs is None:
            return None
        is_file = ledger.kind == "file"
        link = Link(ledger.server, self.process, _LEDGER_S, in_process=is_file)
        return LinkedStatements(ledger.database, link)

    def _client(self) -> MessageClient:
        assert self.world.jobs is not None
        return ReceiverClient(self.world.jobs.receiver, self.world.clock)

    def _shared(self, refill: Callable[[], None]) -> SharedStore:
        world = self.world
        if world.shared is None:
            return MemorySharedStore(world.clock, remember=1024)
        return SharedLink(world.shared, self.process, _SHARED_S, refill)

    def _make(self, spec: BackendSpec) -> Backend:
        settings = spec.settings
        assert isinstance(settings, SimulatedSettings)
        kind = StoppableBackend if settings.stoppable else SimulatedBackend
        platform = self.world.platforms[spec.name]
        if isinstance(platform, Depot):
            kind = DepotBackend
        return kind(spec.name, settings, self.world.clock, platform, self.process.name)

    async def _end_requests(self) -> None:
        """As the server does when its time to drain is over."""
        for task in tuple(self._requests):
            task.cancel()
        if self._requests:
            await asyncio.wait(tuple(self._requests))

    # --- what others do to it ---------------------------------------------------------------------

    def takes(self, connection: Connection, context: RequestContext, asked: ParsedRequest) -> None:
        """A request has come."""
        gateway = self.gateway
        assert gateway is not None
        self.connections.append(connection)
        work = self._serve(gateway, connection, context, asked)
        self.works(work)

    def works(self, work: Coroutine[Any, Any, None]) -> None:
        """It does something for somebody who waits."""
        task = self.process.begins(self.world.loop, work)
        self._requests.add(task)
        task.add_done_callback(self._requests.discard)

    async def _serve(
        self,
        gateway: Gateway,
        connection: Connection,
        context: RequestContext,
        asked: ParsedRequest,
    ) -> None:
        try:
            await serve(gateway, context, asked, connection.receive, connection.send)
        except asyncio.CancelledError:
            if not self._asked_to_end.is_set():
                self.world.blame(f"{context.request_id} was cancelled, and nobody had asked for it")
        except BugOfAdapter:
            # What the middleware makes of it.
            if not context.begun:
                await respond_json(connection.send, context, {"error": {}}, 500)
        except Exception as error:
            self.world.blame(f"{context.request_id} raised {error!r}")
        finally:
            connection.close()

    def kill(self) -> None:
        """Between two of its steps: nothing of it runs again."""
        self.process.is_alive = False
        for platform in self.world.platforms.values():
            platform.forget(self.process.name, self.world.loop.time())
        self._is_gone("is killed")

    def end(self) -> None:
        """It is asked to, and takes its time."""
        self._asked_to_end.set()

    def _is_gone(self, how: str) -> None:
        self.world.note(f"{self.process.name} {how}")
        self.process.is_alive = False
        self.world.ledger.dead.add(self.process.name)
        for connection in self.connections:
            connection.close()
        self.world.look_at_changes()

    def _has_filled(self) -> None:
        if self.world.shared is not None:
            self.world.fills.append(self.world.clock.time())

    async def reload(self) -> None:
        """What its file says is in force from then on."""
        newest = len(self.world.changes) - 1
        if self.gateway is None or self.has >= newest:
            return
        try:
            await self.gateway.apply(self.world.knobs.policy())
        except StorageUnavailable as unavailable:
            self.world.note(f"{self.process.name} refuses policy {newest}: {unavailable}")
            await self.world.clock.sleep(5.0)
            await self.reload()
            return
        self.has = max(self.has, newest)
        self._has_filled()
        self.world.note(f"{self.process.name} has policy {self.has}")
        self.world.look_at_changes()
