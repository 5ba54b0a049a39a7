"""A whole gateway in one process: real embedded stores, fake backends, a fake clock."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast

import httpx
import msgspec

from adapters.base import AdapterClass, Backend
from adapters.fake import Fake
from adapters.types import Call, Task
from gateway.app import backend_maker, build_gateway, running, web
from gateway.calls.answer_limit import Looks
from gateway.calls.dispatcher import Answer
from gateway.calls.state import CallState
from gateway.clock import FakeClock
from gateway.key_requests import issue, read_request
from gateway.opening.last_files_on_disk import LastFilesOnDisk
from gateway.policy.model import BackendSpec, Policy
from gateway.policy.reader import Kinds, read_policy_text
from gateway.policy.sections.keys import KeySettings
from gateway.preferences import Preferences
from gateway.service import Gateway
from gateway.storage.base import Ledger, LedgerRow, SharedStore
from gateway.storage.memory import MemorySharedStore
from gateway.storage.policies.base import PolicyStore
from gateway.storage.queries import UsageQuery
from gateway.storage.rented.base import InstanceStore
from gateway.storage.responses.sql_responses import SqlResponses
from gateway.storage.sqlite.keys import SqliteKeys
from gateway.storage.sqlite.ledger import SqliteLedger
from gateway.storage.sqlite.outbox import SqliteStatements
from gateway.types import MICRO, Principal
from gateway.warm.kept import FileKept
from tests.waiting import until

FAKES = Kinds(load=lambda kind: cast(AdapterClass, {"fake": Fake}[kind]), known=lambda: ["fake"])

POLICY = """
version: 1
server: {tls: "off", access_log: false}
backends:
  home: {kind: fake, slots: 2, price: reserved, expect: 1s}
  burst:
    kind: fake
    price: flex
    cold_start: {p50: 5s, p95: 9s}
    idle_timeout: 60s
    expect: 1s
    max_run: 100s
models:
  chat: {task: chat, backends: [home, burst], slo: 2s}
  far: {task: chat, backends: [burst], slo: 20s}
  any: {task: infer, backends: [home, burst], slo: 2s}
prices:
  reserved: {per_hour: 3.6, as_of: 2026-11-01, source: test}
  flex: {per_second: 0.001, bills: [start, run], as_of: 2026-11-01, source: test}
plans:
  default: {requests: 1000/minute, concurrent: 100, gpu_seconds: 100000/day, spend: 5 USD/month}
"""

NO_OUTPUT = Preferences(None, None, 0)
"""Of a call whose answer holds no tokens."""

PATIENCE_S = 1e9
"""The ledger's thread works in real time while a test's clock leaps: it is never called late."""

ALICE = Principal(key_id="key_alice", user="alice", plan="default", tags={"team": "nlp"})


def read(text: str = POLICY, secrets: Mapping[str, str] = MappingProxyType({})) -> Policy:
    return read_policy_text(text, secrets, kinds=FAKES)


def with_any_keys(policy: Policy) -> Policy:
    """For keys of tests that are of something else than limits."""
    return msgspec.structs.replace(policy, keys=KeySettings(unlimited=True))


class AssembledGateway:
    """A running gateway (``inner``), and what a test does with it."""

    def __init__(self, inner: Gateway, clock: FakeClock, calls: int = 0) -> None:
        """``calls``: numbers of calls that others have."""
        self.inner = inner
        self.clock = clock
        self._calls = calls

    def fake(self, name: str) -> Fake:
        return cast(Fake, self.inner.active.backends[name].adapter)

    def call_state(
        self,
        model: str = "chat",
        *,
        stream: bool = False,
        body: bytes = b"{}",
        principal: Principal = ALICE,
        preferences: Preferences = NO_OUTPUT,
    ) -> CallState:
        self._calls += 1
        task: Task = self.inner.active.policy.models[model].task
        call = Call(
            id=f"req_{self._calls}",
            model=model,
            task=task,
            body=body,
            stream=stream,
            deadline=self.clock.monotonic() + 600,
        )
        return CallState(
            call,
            call.model,
            principal,
            preferences,
            received=self.clock.monotonic(),
            received_at=self.clock.time(),
            policy=self.inner.active.policy.version,
            task=asyncio.current_task(),
        )

    async def ask(self, state: CallState) -> Answer:
        dispatcher, active = self.inner.dispatcher, self.inner.active
        with Looks(self.clock, dispatcher.patience(active, state)):
            return await dispatcher.ask(active, state)

    def start(self, model: str = "chat", **options: Any) -> tuple[CallState, asyncio.Task[Answer]]:
        """A call in a task of its own, as a request has it."""
        box: list[CallState] = []

        async def run() -> Answer:
            box.append(self.call_state(model, **options))
            return await self.ask(box[0])

        task = asyncio.get_running_loop().create_task(run())
        task.add_done_callback(lambda done: done.cancelled() or done.exception())
        return _Late(box), task  # type: ignore[return-value]

    async def ask_after(self, state: CallState, seconds: float) -> Answer:
        """Asks, and lets as much time pass as the answer takes."""
        before = self._asked()
        task = asyncio.ensure_future(self.ask(state))
        await until(lambda: task.done() or self._asked() > before, "a backend is asked")
        await self.clock.advance(seconds)
        return await task

    async def until_asked(self, backend: str) -> None:
        """Waits for the ledger's thread, after which the backend is asked."""
        await until(lambda: self.fake(backend).running > 0, f"{backend} is asked", every_s=0.001)

    async def until_done(self, tasks: Iterable[asyncio.Task[Any]], step: float) -> None:
        """Time goes by in steps until all have ended; between two of them the ledger's thread,
        whose time is real, keeps up."""
        waited = list(tasks)

        async def ended() -> bool:
            await self.clock.advance(step)
            return all(task.done() for task in waited)

        await until(ended, "every call has ended", every_s=0.001)

    def _asked(self) -> int:
        fakes = (backend.adapter for backend in self.inner.active.backends.values())
        return sum(len(cast(Fake, fake).calls) for fake in fakes)

    async def rows(self, call_id: str) -> list[LedgerRow]:
        return await self.inner.ledger.rows(call_id)

    async def row(self, call_id: str) -> LedgerRow:
        [row] = await self.rows(call_id)
        return row

    async def spent(self, user: str = "alice") -> int:
        rows = (await self.inner.ledger.usage(UsageQuery(where={"user": user}))).rows
        return sum(row.cost_nano for row in rows)

    def key(self, user: str = "alice", **asked: Any) -> str:
        request = read_request({"user": user, **asked}, with_any_keys(self.inner.active.policy))
        return issue(self.inner.keys, request, self.clock.time())[0]

    @contextlib.asynccontextmanager
    async def client(self, key: str | None = None) -> AsyncIterator[httpx.AsyncClient]:
        """A client of the ASGI application itself."""
        headers = {"Authorization": f"Bearer {key or self.key()}"}
        transport = httpx.ASGITransport(app=web(self.inner))
        async with httpx.AsyncClient(
            transport=transport, base_url="http://gateway", headers=headers
        ) as client:
            yield client


class _Late:
    """The state that a task makes when it starts."""

    def __init__(self, box: list[CallState]) -> None:
        self._box = box

    def __getattr__(self, name: str) -> Any:
        return getattr(self._box[0], name)


def build(
    folder: Path,
    clock: FakeClock,
    text: str = POLICY,
    *,
    shared: SharedStore | None = None,
    ledger: Ledger | None = None,
    secrets: Mapping[str, str] = MappingProxyType({}),
    policies: PolicyStore | None = None,
) -> Gateway:
    """Stores that are left out are the embedded ones, in ``folder``; ``policies`` in memory."""

    def make(spec: BackendSpec) -> Backend:
        return Fake(spec.name, spec.settings, clock)

    policy = read(text, secrets)

    def again() -> Policy:
        return read(text, secrets)

    return _built(folder, clock, policy, again, make, shared, ledger, policies)


def _built(
    folder: Path,
    clock: FakeClock,
    policy: Policy,
    load: Callable[[], Policy],
    make: Callable[[BackendSpec], Backend],
    shared: SharedStore | None = None,
    ledger: Ledger | None = None,
    policies: PolicyStore | None = None,
) -> Gateway:
    gateway = build_gateway(
        policy,
        clock=clock,
        keys=SqliteKeys(folder / "keys.db", clock=clock),
        ledger=ledger
        or SqliteLedger(folder / "ledger.db", clock=clock, write_timeout_s=PATIENCE_S),
        shared=shared or MemorySharedStore(clock),
        make_backend=make,
        load=load,
        random_source=random.Random(7),
        kept_workers=FileKept(folder / "kept-workers.json"),
        policies=policies,
        responses=SqlResponses(
            SqliteStatements(folder / "ledger.db", now_us=lambda: round(clock.time() * MICRO))
        ),
    )
    gateway.policies.read = read
    gateway.policies.last_files = LastFilesOnDisk(folder / "policy-files.json")
    return gateway


@contextlib.asynccontextmanager
async def assembled(
    folder: Path,
    clock: FakeClock,
    text: str = POLICY,
    *,
    shared: SharedStore | None = None,
    ledger: Ledger | None = None,
    secrets: Mapping[str, str] = MappingProxyType({}),
    policies: PolicyStore | None = None,
    rented: InstanceStore | None = None,
) -> AsyncIterator[AssembledGateway]:
    """Started as the real one is, and closed at the end."""
    more: dict[str, Any] = {"secrets": secrets, "policies": policies}
    gateway = build(folder, clock, text, shared=shared, ledger=ledger, **more)
    gateway.rented = rented
    async with running(gateway) as inner:
        yield AssembledGateway(inner, clock)


@contextlib.asynccontextmanager
async def with_own_kinds(
    folder: Path, clock: FakeClock, text: str, environ: Mapping[str, str] | None = None
) -> AsyncIterator[AssembledGateway]:
    """The same with the backends that the policy names, which ask real servers."""
    policy = read_policy_text(text, environ or {})
    gateway = _built(folder, clock, policy, lambda: policy, backend_maker(clock))
    async with running(gateway) as inner:
        yield AssembledGateway(inner, clock)


__all__ = [
    "ALICE",
    "FAKES",
    "POLICY",
    "AssembledGateway",
    "assembled",
    "build",
    "read",
    "with_own_kinds",
]
