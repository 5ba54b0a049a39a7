"""What several processes on one port cost a call, and how fairly they share its connections.

    python -m benchmarks.workers [--workers 2] [--rounds 6] [--duration 3] [--connections 32]

Gateways of one process and of several run side by side and are put under the same load in turns,
so that whatever else the machine does falls on both. CPU is that of all processes of a gateway, the
parent's included, by call; what is printed is each median and the median of the paired ratios.
Then connections are opened, all at once and one after the other, and counted in each process.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import os
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from benchmarks.gateway.accounting import cpu_seconds
from benchmarks.gateway.contenders.base import Running
from benchmarks.gateway.contenders.spillgate import Setup, Spillgate, is_ready
from benchmarks.gateway.load import put_load
from benchmarks.gateway.target import Target
from benchmarks.gateway.upstream import start_answers

_WARM_S = 1.0
_OPEN_WITHIN_S = 10.0
_CLOSED_S = 1.0
"""The connections of the load are gone by then."""


class Cost(msgspec.Struct, frozen=True, kw_only=True):
    """Of one gateway in one round."""

    cpu_us: float
    """A call."""
    per_second: float


def cost(gateway: Running, seconds: float, connections: int) -> Cost:
    """Under load for so long."""
    assert gateway.child is not None
    own = gateway.family().own
    before = cpu_seconds(own)
    seen = put_load(gateway.target, seconds=seconds, connections=connections)
    if seen.refused or seen.broken:
        raise SystemExit(f"{seen.refused} calls were refused and {seen.broken} broken")
    return Cost(
        cpu_us=(cpu_seconds(own) - before) * 1e6 / seen.requests, per_second=seen.per_second
    )


def shares(gateway: Running, connections: int, pause_s: float) -> list[int]:
    """Connections of each serving process, the most first, where so many are opened."""
    assert gateway.child is not None
    serving = gateway.family().own - {gateway.child.pid}
    before = {pid: _sockets(pid) for pid in serving}
    with opened(gateway.target, connections, pause_s):
        end = time.monotonic() + _OPEN_WITHIN_S
        while True:
            found = [_sockets(pid) - before[pid] for pid in serving]
            if sum(found) >= connections or time.monotonic() > end:
                return sorted(found, reverse=True)
            time.sleep(0.05)


@contextlib.contextmanager
def opened(target: Target, connections: int, pause_s: float) -> Iterator[None]:
    """Each has asked something, and is kept."""
    host, _, port = target.url.removeprefix("http://").partition(":")
    with contextlib.ExitStack() as stack:
        made = []
        for _ in range(connections):
            made.append(stack.enter_context(socket.create_connection((host, int(port)))))
            time.sleep(pause_s)
        for one in made:
            head = f"GET /v1/models HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {target.key}\r\n"
            one.sendall(head.encode() + b"\r\n")
        for one in made:
            answer = http.client.HTTPResponse(one)
            answer.begin()
            answer.read()
        yield


def _sockets(pid: int) -> int:
    """That a process has open."""
    count = 0
    for name in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(OSError):
            count += os.readlink(f"/proc/{pid}/fd/{name}").startswith("socket:")
    return count


def _until_ready(target: Target) -> None:
    end = time.monotonic() + 60
    while not is_ready(target):
        if time.monotonic() > end:
            raise SystemExit("a gateway is not ready within a minute")
        time.sleep(0.1)


def _median(values: Sequence[float]) -> str:
    return f"{statistics.median(values):.0f} ({min(values):.0f}-{max(values):.0f})"


def _show_costs(one: Sequence[Cost], several: Sequence[Cost], workers: int) -> None:
    for name, costs in (("one process", one), (f"{workers} and their parent", several)):
        cpu, rate = [each.cpu_us for each in costs], [each.per_second for each in costs]
        print(f"{name:22} CPU a call {_median(cpu)} us   calls a second {_median(rate)}")
    ratios = [b.cpu_us / a.cpu_us for a, b in zip(one, several, strict=True)]
    text = f"{statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})"
    print(f"CPU a call, several against one, paired: {text}", flush=True)


def measure(options: argparse.Namespace) -> None:
    """Starts all, and prints the figures."""
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        upstream, target = start_answers(folder / "upstream")
        stack.callback(upstream.stop)
        gateways: list[Running] = []
        for count in (1, options.workers):
            gateway = Spillgate(name=f"spillgate-{count}", setup=Setup(processes=count))
            gateways.append(gateway.start(target, folder / f"g{count}"))
            stack.callback(gateways[-1].stop)
        for one in gateways:
            _until_ready(one.target)
            put_load(one.target, seconds=_WARM_S, connections=options.connections)
        rounds = [
            [cost(one, options.duration, options.connections) for one in gateways]
            for _ in range(options.rounds)
        ]
        _show_costs([each[0] for each in rounds], [each[1] for each in rounds], options.workers)
        time.sleep(_CLOSED_S)
        for pause_s, how in ((0.0, "at once"), (0.005, "one after the other")):
            parts = [shares(gateways[1], options.connections, pause_s) for _ in range(5)]
            print(f"{options.connections} connections {how}, by process: {parts}", flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--duration", type=float, default=3.0, help="seconds of load a round")
    parser.add_argument("--connections", type=int, default=32)
    measure(parser.parse_args(arguments))
    return 0


if __name__ == "__main__":
    sys.exit(main())
