"""The gateway as a server of its application, with SIGHUP for the policy."""

from __future__ import annotations

import asyncio
import datetime
import os
import signal
import socket
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import FrameType

from gateway.api.routes import Application
from gateway.cli.serving.crowd import Crowd
from gateway.cli.serving.listener import Spared, protocol_of
from gateway.cli.serving.local_socket import owner_protocol
from gateway.keys.signals import SignalledActs
from gateway.metrics import Reading
from gateway.named_files import FileRead
from gateway.policy.sections.server import ClientSettings, ServerSettings, TlsFiles, TlsNames
from gateway.service import Gateway
from gateway.tls.context import ensure_certificates
from gateway.tls.files import TlsError, TlsMaterial
from gateway.tls.hosts import hosts_of
from gateway.tls.renewal import ServerCertificate
from local_runtime import gc_tuning
from local_runtime.http.accepting import Acceptor, Headroom
from local_runtime.http.client_limits import ClientLimits
from local_runtime.http.server import HttpServer


def certificate_of(gateway: Gateway) -> ServerCertificate | None:
    """The listener's, which a reload reads again. Raises TlsError."""
    server = gateway.active.policy.server
    if server.tls == "off":
        return None
    certificate = ServerCertificate(partial(_made, server))
    gateway.file_readers.append(partial(_renew, certificate))
    return certificate


def material_of(server: ServerSettings) -> TlsMaterial | None:
    """Certificate and key, made where they are missing; None without TLS. Raises TlsError."""
    return None if server.tls == "off" else _made(server)


def _made(server: ServerSettings) -> TlsMaterial:
    tls = server.tls
    if isinstance(tls, TlsFiles):
        return TlsMaterial(ca=Path(tls.cert), cert=Path(tls.cert), key=Path(tls.key))
    hosts = hosts_of(server.listen[0], tls.names if isinstance(tls, TlsNames) else ())
    now = datetime.datetime.now(datetime.UTC)
    return ensure_certificates(Path(server.data) / "tls", hosts, now)


def _renew(certificate: ServerCertificate) -> list[FileRead]:
    try:
        material = certificate.renew()
    except (TlsError, OSError) as error:
        return [FileRead("server.tls", str(certificate.material.cert), str(error))]
    files = dict.fromkeys((material.cert, material.key))
    return [FileRead("server.tls", str(file)) for file in files]


def _descriptors(crowd: Crowd) -> Iterator[Reading]:
    used = float(len(os.listdir("/proc/self/fd")))
    yield "spillgate_descriptors", "Files and sockets that are open", {}, used
    yield "spillgate_descriptor_limit", "How many there may be", {}, float(crowd.limit)
    text = "Connections told 503 because too many were open"
    yield "spillgate_connections_refused", text, {}, float(crowd.refused)


def _limits(clients: ClientSettings) -> ClientLimits:
    return ClientLimits(
        first_head_s=clients.first_head,
        head_s=clients.head,
        body_s=clients.body,
        write_s=clients.write,
        rate=clients.rate,
        idle_s=clients.idle,
        strangers=clients.without_key,
    )


class GatewayServer(HttpServer):
    """A server, with SIGHUP for the policy and a word to the user once the port is open."""

    def __init__(
        self,
        gateway: Gateway,
        app: Application,
        certificate: ServerCertificate | None,
        *,
        local: socket.socket | None = None,
        serving: Callable[[], None],
        ending: Callable[[], None] = lambda: None,
        is_others_turn: Callable[[int], bool] | None = None,
    ) -> None:
        """``serving`` is called once connections are taken, ``ending`` when it is told to end;
        ``is_others_turn`` is asked before each, where several processes take them; ``local`` is the
        listening Unix socket of the gateway's own user."""
        policy = gateway.active.policy
        host, port = policy.server.listen
        self._crowd = crowd = Crowd()
        gateway.metrics.observe(partial(_descriptors, crowd))
        super().__init__(
            app,
            host=host,
            port=port,
            drain_s=max(1.0, policy.server.drain),
            max_head=policy.server.max_header,
            protocol=protocol_of(crowd),
            tls=None if certificate is None else certificate.context,
            limits=_limits(policy.server.clients),
            identifies=True,
        )
        self._gateway = gateway
        self._local = local
        self._own_protocol = owner_protocol(crowd, app)
        self._serving = serving
        self._ending = ending
        self._is_others_turn = is_others_turn

    def room(self) -> Headroom:
        """What descriptors leave."""
        return Spared(self._crowd, self.state.connections, self._is_others_turn)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Whoever waits for the data folder waits no longer than calls take to end."""
        super().handle_exit(sig, frame)
        self._ending()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if not self.started or self.should_exit:
            return  # nobody would see the keys that are made for a first start
        if self._local is not None:
            self.acceptors.append(self._by_owner(self._local))
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self.reload)
        self._serving()
        gc_tuning.relax()

    def _by_owner(self, local: socket.socket) -> Acceptor:
        return Acceptor(
            local,
            self.maker(self._own_protocol),
            room=Headroom(),
            tls=None,
            within_s=0.0,
            most=0,
        )

    def reload(self) -> None:
        """On SIGHUP."""
        self._gateway.run_forever(self._reload())

    async def _reload(self) -> None:
        gateway = self._gateway
        await gateway.reload()
        refused = () if gateway.refused is None else gateway.refused.problems
        acts = SignalledActs(gateway.keys, gateway.clock)
        await acts.record("policy.reload", "SIGHUP", gateway.active.policy.version, refused)
