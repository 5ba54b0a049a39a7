"""``spillgate serve --workers N``: the parent of the processes that serve, and one of these."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import msgspec
import uvloop

from gateway.app import backend_maker, from_path, running, web
from gateway.backends.shared_bound import SharedBound
from gateway.backends.use_in_all import UseInAll
from gateway.cli.serving.banner import announce
from gateway.cli.serving.local_socket import LocalSocket
from gateway.cli.serving.server import GatewayServer, certificate_of, material_of
from gateway.cli.serving.serving_lock import HeldLocks
from gateway.clock import SystemClock
from gateway.keys.signals import SignalledActs
from gateway.log_lines import LineWriter, writer_to
from gateway.opening.stores import open_keys, open_last_files, open_policies
from gateway.policy.model import BackendSpec, Policy
from gateway.preflight.listening import check_ports_are_free
from gateway.processes.child import ParentLink
from gateway.processes.hosts import Guests, Hosts
from gateway.processes.loading import PolicyLoader
from gateway.processes.parent import Parent, Shared
from gateway.processes.ports import listeners_at
from gateway.processes.snapshots import PolicySnapshots
from gateway.processes.told import Told, told
from gateway.processes.turns import ConnectionCounts, Turns, memory_for, places_for
from gateway.service import Gateway
from gateway.storage.base import SharedStore
from gateway.storage.memory import MemorySharedStore
from gateway.storage.served.server import StoreServer
from local_runtime import gc_tuning

log = logging.getLogger("spillgate")


def serve_all(config: Path, count: int, beside_others: bool) -> int:
    """The parent's exit status, once all have ended. Raises as ``spillgate serve`` does."""
    clock = SystemClock()
    hosts = Hosts(clock)
    loader = PolicyLoader(backend_maker(clock), clock, hosts)
    with contextlib.closing(PolicySnapshots(config)) as snapshots, contextlib.ExitStack() as stack:
        policy, copy = snapshots.take(loader.anew)
        snapshots.put_in_force(copy)
        loader.in_force = policy
        check_ports_are_free(policy)
        keys = stack.enter_context(contextlib.closing(open_keys(policy, clock)))
        locks = stack.enter_context(contextlib.closing(HeldLocks(policy, beside_others)))
        material = material_of(policy.server)
        listeners = [stack.enter_context(one) for one in listeners_at(*policy.server.listen)]
        local = stack.enter_context(
            contextlib.closing(LocalSocket(Path(policy.server.data)))
        ).socket
        counts = memory_for(places_for(count))
        stack.callback(os.close, counts)
        out = stack.enter_context(contextlib.closing(writer_to(sys.stdout.fileno())))

        def say() -> None:
            log.info("%d processes serve; SIGUSR2 replaces them one by one", count)
            announce(policy, keys, material, out, clock, config)
            gc_tuning.relax()

        def command(what: Told) -> Sequence[str]:
            serve = ("-P", "-m", "gateway", "serve", "--config", str(snapshots.current))
            return (sys.executable, *serve, "--process", what.as_argument())

        shared = Shared(
            store=StoreServer(MemorySharedStore(clock)),
            hosts=hosts,
            snapshots=snapshots,
            loader=loader,
            listeners=tuple(one.fileno() for one in (*listeners, *([local] if local else ()))),
            counts=counts,
            inherited=locks.descriptors,
            policies=open_policies(policy),
            last_files=open_last_files(policy),
            acted=SignalledActs(keys, clock).record,
        )
        return uvloop.run(Parent(count, command, shared, clock, locks.ends).run(say))


def serve_one(config: Path, lines: LineWriter, argument: str) -> int:
    """The exit status of one of the processes, once it has ended."""
    what = told(argument)
    member = _Member(what)
    gateway = from_path(config, lines, member)
    gateway.follow_parent()
    certificate = certificate_of(gateway)
    sockets = [socket.socket(fileno=one) for one in what.listeners]
    server = GatewayServer(
        gateway,
        web(gateway, member.run),
        certificate,
        local=next((one for one in sockets if one.family == socket.AF_UNIX), None),
        serving=lambda: member.link.serving(gateway.active.policy.version),
        is_others_turn=member.turns.is_others,
    )
    member.turns.connections = lambda: len(server.state.connections)

    def end() -> None:
        server.should_exit = True

    def retire() -> None:
        member.turns.leave()
        server.retire()

    member.link.end, member.link.retire = end, retire
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # the parent says when
    server.run([one for one in sockets if one.family != socket.AF_UNIX])
    return 130 if server.force_exit else 0 if server.started else 2


class _Member:
    """This process, among those that serve."""

    def __init__(self, what: Told) -> None:
        clock = SystemClock()
        self.link = ParentLink(what.parent, what.of, what.machine, clock)
        self._what = what
        self._guests = Guests(what.folders, clock)
        self.turns = Turns(ConnectionCounts(what.counts, what.places), what.place, clock)

    def settings_of(self, spec: BackendSpec) -> msgspec.Struct:
        return self._guests.settings(spec)

    def part_of(self, policy: Policy) -> Policy:
        """An address's failed keys and the room for slow clients are bounded in all; what one key
        may keep waiting is bounded in each process."""
        of, server = self._what.of, policy.server
        clients = msgspec.structs.replace(
            server.clients,
            without_key=-(-server.clients.without_key // of),
            failed_keys=-(-server.clients.failed_keys // of),
            in_all=-(-server.clients.in_all // of),
        )
        server = msgspec.structs.replace(server, clients=clients)
        return msgspec.structs.replace(policy, server=server)

    def bound(self, backend: str, calls: int) -> SharedBound:
        return self.link.parts.bound(backend, calls)

    def use(self, backend: str) -> UseInAll:
        return self.link.parts.use(backend)

    def open_shared(self, policy: Policy) -> SharedStore:
        self.link.store.timeout_s = policy.store.timeout_s
        return self.link.store

    @contextlib.asynccontextmanager
    async def run(self, gateway: Gateway) -> AsyncIterator[Gateway]:
        """The parent is there before the gateway starts; where others serve, connections are taken
        once the backends are ready."""
        await self.link.connect(gateway)
        async with running(gateway, self.link.parts.lease):
            if self._what.waits:
                await self.link.until_ready()
            gateway.run_forever(self.turns.keep_counting())
            yield gateway
        await self.link.aclose()
