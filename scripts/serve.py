"""The gateway and its spare backend, started together and ended together. A policy that does not
name the spare backend's port is served without it.

    .venv/bin/python -m scripts.serve --config config/default.yaml

Ctrl-C, SIGTERM or the end of either one ends both, the gateway first, so that a call it has
handed over can still be answered. On Linux the kernel ends them even if this program is killed.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from gateway.cli.serving.local_socket import answers
from gateway.cli.shared import AnySecret
from gateway.policy.reader import load_policy
from gateway.policy.syntax.problems import PolicyError

STOP = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
USUAL_PORT = 8700
"""Of the spare backend, in config/default.yaml."""
PR_SET_PDEATHSIG = 1
"""prctl(2): the signal that a process gets when its parent dies."""


class Program(NamedTuple):
    name: str
    command: Sequence[str]
    log: Path | None = None
    """Where its output goes; left out: the terminal."""
    grace_s: float = 10.0
    """How long it may take to end after SIGTERM."""


class Running(NamedTuple):
    program: Program
    process: subprocess.Popen[bytes]


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    data: Path = options.data
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    used = data_of(options.config) or data
    if answers(used):
        print(beside(used), file=sys.stderr)
        return 1
    programs, environ = [gateway(options.config)], dict(os.environ)
    if needs_overflow(options.config, options.overflow_port):
        if not is_free(options.overflow_port):
            print(taken(options.config, options.overflow_port), file=sys.stderr)
            return 1
        programs.append(overflow(options.overflow_port, data))
        environ = environment(os.environ, demo_key=f"local-{secrets.token_hex(16)}")
    elif options.overflow_port != USUAL_PORT:
        print(unnamed(options.config, options.overflow_port), file=sys.stderr)
        return 1
    return keep_together(programs, environ)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m scripts.serve", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--config", type=Path, default=Path("config/default.yaml"))
    parser.add_argument(
        "--overflow-port",
        type=int,
        default=8700,
        help="as the policy names it; OVERFLOW_PORT of make",
    )
    parser.add_argument("--data", type=Path, default=Path(".spillgate"), help="for the log")
    return parser


def needs_overflow(config: Path, port: int) -> bool:
    """Whether the policy, a file or a folder of them, names the port on this machine."""
    files = sorted(config.glob("*.y*ml")) if config.is_dir() else [config]
    texts = [file.read_text(errors="replace") for file in files if file.is_file()]
    lines = (line.partition("#")[0] for text in texts for line in text.splitlines())
    address = re.compile(rf"//(127\.0\.0\.1|localhost):{port}\b")
    return any(address.search(line) for line in lines)


def is_free(port: int) -> bool:
    """Nobody listens there."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def taken(config: Path, port: int) -> str:
    """What to do then."""
    return (
        f"The port {port}, where the spare backend would listen, is taken. End the program that "
        f"has it, another make serve perhaps, or give another port in {config} (base_url and "
        f"management_url) and say the same: make serve OVERFLOW_PORT={port + 1}"
    )


def data_of(config: Path) -> Path | None:
    """The data folder of a policy; None where it cannot be read, which the gateway tells."""
    try:
        return Path(load_policy(config, AnySecret(os.environ)).server.data)
    except PolicyError:
        return None


def beside(data: Path) -> str:
    """What to do then."""
    return (
        f"A gateway runs already with its data in {data.resolve()}: `spillgate status` says how "
        "it is. End it, or give this one a policy with another server.data, server.listen and "
        "store.ledger: make serve CONFIG=other.yaml"
    )


def unnamed(config: Path, port: int) -> str:
    """Where a port was asked for and nobody would call it."""
    return (
        f"No backend in {config} is at 127.0.0.1:{port}: write the port into its base_url and "
        "management_url as well"
    )


def gateway(config: Path) -> Program:
    """Its grace is longer than ``server.drain``, which bounds how long calls may take to end."""
    command = [str(Path(sys.executable).with_name("spillgate")), "serve", "--config", str(config)]
    return Program("the gateway", command, grace_s=45.0)


def overflow(port: int, data: Path) -> Program:
    """A queue that speaks RunPod's protocol: stands in for a serverless platform."""
    command = [sys.executable, "-m", "examples.overflow", "--port", str(port)]
    return Program("the overflow backend", command, log=data / "overflow.log")


def environment(environ: Mapping[str, str], *, demo_key: str) -> dict[str, str]:
    """A RUNPOD_API_KEY that the user set stays; without one the overflow takes the demo key."""
    return {"RUNPOD_API_KEY": demo_key, **environ}


def keep_together(programs: Sequence[Program], environ: Mapping[str, str]) -> int:
    """Runs until one ends or a signal says stop; then ends the rest, in the order given.

    Returns 0 when told to stop, else 1 and says which one ended.
    """
    # Blocked before the first start, so that no signal can fall between start and wait.
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP | {signal.SIGCHLD})
    running: list[Running] = []
    try:
        for program in programs:
            running.append(Running(program, _start(program, environ)))
        return _wait(running)
    finally:
        _stop_all(running)


def _start(program: Program, environ: Mapping[str, str]) -> subprocess.Popen[bytes]:
    with contextlib.ExitStack() as stack:
        output = None
        if program.log is not None:
            # Added to: another pair that runs beside this one may write there.
            output = stack.enter_context(program.log.open("ab"))
        return subprocess.Popen(
            program.command,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            # Its own session: Ctrl-C reaches this program alone, which ends them in order.
            start_new_session=True,
            preexec_fn=_child_setup(os.getpid()),  # noqa: PLW1509 - no threads here
        )


def _child_setup(parent: int) -> Callable[[], None]:
    prctl = getattr(ctypes.CDLL(None), "prctl", None)

    def run() -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, [])
        if prctl is None:  # not Linux
            return
        prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            os._exit(1)

    return run


def _wait(running: Sequence[Running]) -> int:
    while True:
        received = signal.sigwait(STOP | {signal.SIGCHLD})
        if received in STOP:
            return 0
        for one in running:
            if one.process.poll() is not None:
                _report(one)
                return 1


def _report(ended: Running) -> None:
    program, process = ended
    print(f"{program.name} ended by itself ({_how(process.returncode)}).", file=sys.stderr)
    if program.log is not None:
        tail = program.log.read_text(errors="replace").splitlines()[-20:]
        print("\n".join([*tail, f"Its whole log is {program.log}."]), file=sys.stderr)


def _how(returncode: int) -> str:
    if returncode < 0:
        return f"signal {signal.Signals(-returncode).name}"
    return f"exit status {returncode}"


def _stop_all(running: Sequence[Running]) -> None:
    """A second Ctrl-C stops the patience, not the stopping."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP)
        for one in running:
            _stop(one)
    except KeyboardInterrupt:
        print("Not waiting for calls under way.", file=sys.stderr)
    finally:
        for one in running:
            _kill_group(one.process)


def _stop(one: Running) -> None:
    one.process.terminate()
    try:
        one.process.wait(one.program.grace_s)
    except subprocess.TimeoutExpired:
        print(f"{one.program.name} did not end in time and is killed.", file=sys.stderr)
        _kill_group(one.process)


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    """Takes with it whatever the program started and left in its session."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


if __name__ == "__main__":
    sys.exit(main())
