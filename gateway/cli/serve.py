"""``spillgate serve``: the gateway in the foreground, until SIGTERM or Ctrl-C.

SIGHUP reads the policy again, and the files that it names. On SIGTERM no new connection is taken,
calls under way may end within ``server.drain``, and what is left then is settled as cancelled.
"""

from __future__ import annotations

import asyncio
import datetime
import logging
import os
import signal
import socket
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from types import FrameType
from typing import cast

from gateway.app import from_path, web
from gateway.cli.banner import banner, first_keys
from gateway.cli.data_lock import DataInUse, DataLock
from gateway.cli.listener import Crowd, ListenerProtocol, Spared, protocol_of
from gateway.cli.shared import add_config, command, fail
from gateway.log_lines import LineWriter, all_through, writer_to
from gateway.metrics import Reading
from gateway.named_files import FileRead
from gateway.policy.model import ClientSettings, ServerSettings, TlsFiles
from gateway.policy.problems import PolicyError
from gateway.policy.warnings import warnings_of
from gateway.preflight import PortTaken, check_port_is_free, exposed_files
from gateway.service import Gateway
from gateway.storage.base import StorageUnavailable
from gateway.tls.context import ensure_certificates
from gateway.tls.files import TlsError, TlsMaterial
from gateway.tls.renewal import ServerCertificate
from local_runtime import descriptors, gc_tuning
from local_runtime.http.accepting import Headroom
from local_runtime.http.client_limits import ClientLimits
from local_runtime.http.server import HttpServer

log = logging.getLogger("spillgate")


def main(arguments: Sequence[str]) -> int:
    """Serves until it is told to end. Exit status 0; 2: it could not begin; 130: told twice."""
    parser = command("serve", "Starts the gateway.", "spillgate serve --config config/default.yaml")
    add_config(parser)
    parser.add_argument(
        "--beside-others",
        action="store_true",
        help="start although another gateway with memory:// uses the same data folder: each has "
        "limits and budgets of its own then, and together they spend several times as much",
    )
    options = parser.parse_args(arguments)
    lines = writer_to(sys.stderr.fileno())
    why = ""
    with all_through(lines):
        try:
            status = _serve(options.config, lines, options.beside_others)
        except (PolicyError, TlsError, StorageUnavailable, DataInUse, PortTaken) as error:
            why = str(error)
    if why:
        fail(why)
    return status


def _serve(config: Path, lines: LineWriter, beside_others: bool) -> int:
    """The exit status, once it has ended."""
    descriptors.raise_limit()
    gateway = from_path(config, lines)
    policy = gateway.active.policy
    # Before a model is loaded or a key is made.
    check_port_is_free(*policy.server.listen)
    alone = policy.store.shared is None and not beside_others
    lock = DataLock(Path(policy.server.data)) if alone else None
    certificate = _certificate(gateway)
    out = writer_to(sys.stdout.fileno())
    try:
        server = _Server(gateway, certificate, out, lock)
        server.run()
    except SystemExit:  # uvicorn has told why it could not begin
        return 2
    finally:
        out.close()
        if lock is not None:
            lock.close()
    return 130 if server.force_exit else 0 if server.started else 2


def _certificate(gateway: Gateway) -> ServerCertificate | None:
    """The listener's, which a reload reads again. Raises TlsError."""
    server = gateway.active.policy.server
    if server.tls == "off":
        return None
    certificate = ServerCertificate(partial(_material, server))
    gateway.file_readers.append(partial(_renew, certificate))
    return certificate


def _material(server: ServerSettings) -> TlsMaterial:
    tls = server.tls
    if isinstance(tls, TlsFiles):
        return TlsMaterial(ca=Path(tls.cert), cert=Path(tls.cert), key=Path(tls.key))
    host, _ = server.listen
    now = datetime.datetime.now(datetime.UTC)
    return ensure_certificates(Path(server.data) / "tls", [host], now)


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


class _Server(HttpServer):
    """Uvicorn, with SIGHUP for the policy and a word to the user once the port is open."""

    def __init__(
        self,
        gateway: Gateway,
        certificate: ServerCertificate | None,
        out: LineWriter,
        lock: DataLock | None,
    ) -> None:
        policy = gateway.active.policy
        host, port = policy.server.listen
        self._crowd = crowd = Crowd()
        gateway.metrics.observe(partial(_descriptors, crowd))
        super().__init__(
            web(gateway),
            host=host,
            port=port,
            drain_s=max(1, round(policy.server.drain)),
            max_head=policy.server.max_header,
            protocol=protocol_of(crowd),
            tls=None if certificate is None else certificate.context,
            limits=_limits(policy.server.clients),
            identifies=True,
        )
        self._gateway = gateway
        self._material = None if certificate is None else certificate.material
        self._out = out
        self._lock = lock

    def room(self) -> Headroom:
        """What descriptors leave."""
        assert self.strangers is not None
        connections = cast("set[ListenerProtocol]", self.server_state.connections)
        return Spared(self._crowd, connections, self.strangers)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Whoever waits for the data folder waits no longer than calls take to end."""
        super().handle_exit(sig, frame)
        if self._lock is not None:
            self._lock.ends()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if not self.started or self.should_exit:
            return  # nobody would see the keys that are made for a first start
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._reload)
        self._announce()
        gc_tuning.relax()

    def _reload(self) -> None:
        self._gateway.run_forever(self._gateway.reload())

    def _announce(self) -> None:
        gateway, policy = self._gateway, self._gateway.active.policy
        today = datetime.datetime.now(datetime.UTC).date()
        for warning in (*warnings_of(policy, today=today), *exposed_files(policy, {})):
            log.warning("policy: %s", warning)
        keys = first_keys(gateway.keys, policy, gateway.clock.time())
        text = banner(policy, self._material, keys) + "\n"
        self._out.put(text.count("\n"), text.encode)
