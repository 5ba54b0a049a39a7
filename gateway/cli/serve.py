"""``spillgate serve``: the gateway in the foreground, until SIGTERM or Ctrl-C.

SIGHUP reads the policy again. On SIGTERM no new connection is taken, calls under way may end
within ``server.drain``, and what is left then is settled as cancelled.
"""

from __future__ import annotations

import asyncio
import datetime
import logging
import signal
import socket
import ssl
import sys
from collections.abc import Sequence
from pathlib import Path

from gateway.app import from_path, web
from gateway.cli.banner import banner, first_keys
from gateway.cli.shared import add_config, command, fail
from gateway.log_lines import LineWriter, all_through, writer_to
from gateway.policy.model import Policy, TlsFiles
from gateway.policy.problems import PolicyError
from gateway.policy.warnings import warnings_of
from gateway.service import Gateway
from gateway.storage.base import StorageUnavailable
from gateway.tls.context import ensure_certificates, server_context
from gateway.tls.files import TlsError, TlsMaterial
from local_runtime import gc_tuning
from local_runtime.http.server import HttpServer

log = logging.getLogger("spillgate")


def main(arguments: Sequence[str]) -> int:
    """Serves until it is told to end. Exit status 0; 2: it could not begin; 130: told twice."""
    parser = command("serve", "Starts the gateway.", "spillgate serve --config config/default.yaml")
    add_config(parser)
    options = parser.parse_args(arguments)
    lines = writer_to(sys.stderr.fileno())
    why = ""
    with all_through(lines):
        try:
            status = _serve(options.config, lines)
        except (PolicyError, TlsError, StorageUnavailable) as error:
            why = str(error)
    if why:
        fail(why)
    return status


def _serve(config: Path, lines: LineWriter) -> int:
    """The exit status, once it has ended."""
    gateway = from_path(config, lines)
    material = _tls(gateway.active.policy)
    context = None if material is None else server_context(material)
    out = writer_to(sys.stdout.fileno())
    try:
        server = _Server(gateway, material, context, out)
        server.run()
    finally:
        out.close()
    return 130 if server.force_exit else 0 if server.started else 2


def _tls(policy: Policy) -> TlsMaterial | None:
    tls = policy.server.tls
    if tls == "off":
        return None
    if isinstance(tls, TlsFiles):
        return TlsMaterial(ca=Path(tls.cert), cert=Path(tls.cert), key=Path(tls.key))
    host, _ = policy.server.listen
    folder = Path(policy.server.data) / "tls"
    return ensure_certificates(folder, [host], datetime.datetime.now(datetime.UTC))


class _Server(HttpServer):
    """Uvicorn, with SIGHUP for the policy and a word to the user once the port is open."""

    def __init__(
        self,
        gateway: Gateway,
        material: TlsMaterial | None,
        context: ssl.SSLContext | None,
        out: LineWriter,
    ) -> None:
        policy = gateway.active.policy
        host, port = policy.server.listen
        super().__init__(
            web(gateway),
            host=host,
            port=port,
            drain_s=max(1, round(policy.server.drain)),
            max_head=policy.server.max_header,
            tls=context,
        )
        self._gateway = gateway
        self._material = material
        self._out = out

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if not self.started:
            return
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._reload)
        self._announce()
        gc_tuning.relax()

    def _reload(self) -> None:
        self._gateway.run_forever(self._gateway.reload())

    def _announce(self) -> None:
        gateway, policy = self._gateway, self._gateway.active.policy
        today = datetime.datetime.now(datetime.UTC).date()
        for warning in warnings_of(policy, today=today):
            log.warning("policy: %s", warning)
        keys = first_keys(gateway.keys, policy, gateway.clock.time())
        text = banner(policy, self._material, keys) + "\n"
        self._out.put(text.count("\n"), text.encode)
