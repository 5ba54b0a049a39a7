"""``spillgate serve``: the gateway in the foreground, until SIGTERM or Ctrl-C.

SIGHUP reads the policy again, and the files that it names. On SIGTERM no new connection is taken,
calls under way may end within ``server.drain``, and what is left then is settled as cancelled.
With ``--workers`` several processes serve; SIGUSR2 replaces them one by one.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from gateway.app import from_path, web
from gateway.cli.policy_file import home_of, is_near
from gateway.cli.serving import arenas
from gateway.cli.serving.banner import announce
from gateway.cli.serving.data_lock import DataInUse
from gateway.cli.serving.local_socket import LocalSocket
from gateway.cli.serving.server import GatewayServer, certificate_of
from gateway.cli.serving.serving_lock import HeldLocks
from gateway.cli.serving.when_ready import say_when_ready
from gateway.cli.shared import AnySecret, add_config, command, fail
from gateway.log_lines import LineWriter, all_through, writer_to
from gateway.policy.reader import load_policy
from gateway.policy.syntax.problems import PolicyError
from gateway.preflight.listening import PortTaken, check_ports_are_free
from gateway.storage.base import StorageUnavailable
from gateway.tls.files import TlsError
from local_runtime import descriptors

log = logging.getLogger("spillgate")

MOST_WORKERS = 256


def main(arguments: Sequence[str]) -> int:
    """Serves until it is told to end. Exit status 0; 2: it could not begin; 130: told twice."""
    options = _parser().parse_args(arguments)
    arenas.share_one()
    lines = writer_to(sys.stderr.fileno())
    why = ""
    with all_through(lines):
        try:
            if options.process is None:
                options.config = _at_home(options.config)
            status = _run(options, lines)
        except (PolicyError, TlsError, StorageUnavailable, DataInUse, PortTaken) as error:
            why = str(error)
    if why:
        fail(why)
    return status


def _parser() -> argparse.ArgumentParser:
    parser = command("serve", "Starts the gateway.", "spillgate serve --config config/default.yaml")
    add_config(parser)
    parser.add_argument(
        "--workers",
        type=_count,
        default=1,
        metavar="N",
        help="serve from so many processes, which share port, limits, ledger and local workers; "
        "SIGUSR2 replaces them one by one",
    )
    parser.add_argument(
        "--beside-others",
        action="store_true",
        help="start although another gateway with memory:// uses the same data folder: each has "
        "limits and budgets of its own then, and together they spend several times as much",
    )
    parser.add_argument("--process", help=argparse.SUPPRESS)
    return parser


def _count(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or not 1 <= int(text) <= MOST_WORKERS:
        raise argparse.ArgumentTypeError(f"expected 1 to {MOST_WORKERS}, found {text!r}")
    return int(text)


def _run(options: argparse.Namespace, lines: LineWriter) -> int:
    descriptors.raise_limit()
    if options.workers == 1 and options.process is None:
        return _serve(options.config, lines, options.beside_others)
    # Imported here because a gateway of one process must not pay for it.
    from gateway.cli.serving.serve_together import serve_all, serve_one

    if options.process is not None:
        return serve_one(options.config, lines, options.process)
    return serve_all(options.config, options.workers, options.beside_others)


def _at_home(config: Path) -> Path:
    """The policy's absolute path. Relative paths in it begin in its home from now on, wherever the
    program was started."""
    config = config.absolute()
    if not is_near(config):
        with contextlib.suppress(PolicyError):  # told when it is read with its secrets
            home = home_of(load_policy(config, AnySecret(os.environ)), config)
            if home != Path.cwd():
                log.info("relative paths in %s begin in %s", config, home)
                os.chdir(home)
    return config


def _serve(config: Path, lines: LineWriter, beside_others: bool) -> int:
    """The exit status, once it has ended."""
    gateway = from_path(config, lines)
    policy = gateway.active.policy
    # Before a model is loaded or a key is made.
    check_ports_are_free(policy)
    locks = HeldLocks(policy, beside_others)
    certificate = certificate_of(gateway)
    material = None if certificate is None else certificate.material
    out = writer_to(sys.stdout.fileno())
    local = LocalSocket(Path(policy.server.data))

    def serving() -> None:
        announce(gateway.active.policy, gateway.keys, material, out, gateway.clock, config)
        gateway.run_forever(say_when_ready(gateway))

    try:
        server = GatewayServer(
            gateway,
            web(gateway),
            certificate,
            local=local.socket,
            serving=serving,
            ending=locks.ends,
        )
        server.run()
    finally:
        local.close()
        out.close()
        locks.close()
    return 130 if server.force_exit else 0 if server.started else 2
