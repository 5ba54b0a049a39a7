"""Spillgate by itself: memory, the time until it is ready, the time that its import takes."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from benchmarks.gateway.accounting import memory
from benchmarks.gateway.contenders.base import Running
from benchmarks.gateway.contenders.spillgate import READY, Spillgate, is_ready
from benchmarks.gateway.figures import Alone
from benchmarks.gateway.load import LoadFailed, put_load
from benchmarks.gateway.processes import ROOT, Child
from benchmarks.gateway.target import Target
from benchmarks.gateway.upstream import start_answers

WARM_CALLS = 2000
POLL = 0.005
IMPORT = "import time; t = time.perf_counter(); import gateway.app; print(time.perf_counter() - t)"


class Effort(msgspec.Struct, frozen=True, kw_only=True):
    calls: int = 100_000
    starts: int = 5
    connections: int = 32


def measure_alone(effort: Effort, folder: Path, say: Callable[[str], None]) -> Alone:
    """Raises StartFailed where the gateway does not start."""
    upstream, target = start_answers(folder)
    with upstream:
        ready = [
            _time_to_ready(target, folder / f"start{number}", say)
            for number in range(effort.starts + 1)
        ]
        idle, warm, after, calls = _memory(target, effort, folder / "memory", say)
    return Alone(
        idle_mib=idle,
        warm_mib=warm,
        after_mib=after,
        calls=calls,
        ready_s=tuple(ready[1:]),  # the first one fills the caches of bytecode and files
        import_s=tuple(_import_seconds() for _ in range(effort.starts)),
    )


def _time_to_ready(upstream: Target, folder: Path, say: Callable[[str], None]) -> float:
    say("time until ready")
    running = Spillgate(name="spillgate").launch(upstream, folder)
    begun = time.monotonic()
    with _child(running) as child:
        _wait(child, running.target)
        return time.monotonic() - begun


def _memory(
    upstream: Target, effort: Effort, folder: Path, say: Callable[[str], None]
) -> tuple[float, float, float, int]:
    """Resident MiB when idle, when warm and in the end, and how many calls were made."""
    running = Spillgate(name="spillgate").launch(upstream, folder)
    with _child(running) as child:
        _wait(child, running.target)
        time.sleep(1.0)
        idle = _resident(running)
        calls = _call(running.target, WARM_CALLS, effort.connections)
        warm = _resident(running)
        while calls < effort.calls:
            say(f"memory: {calls:,} of {effort.calls:,} calls")
            calls += _call(running.target, effort.calls - calls, effort.connections)
        time.sleep(1.0)
        return idle, warm, _resident(running), calls


def _call(target: Target, wanted: int, connections: int) -> int:
    """Some of the wanted calls: a few seconds of load. Raises LoadFailed where they fail."""
    seen = put_load(target, seconds=1 if wanted <= WARM_CALLS else 5, connections=connections)
    if seen.requests == 0 or seen.refused:
        raise LoadFailed(f"{seen.refused} of {seen.requests} calls were refused")
    return seen.requests


def _child(running: Running) -> Child:
    assert running.child is not None
    return running.child


def _wait(child: Child, target: Target) -> None:
    child.wait_until(lambda: is_ready(target), what="spillgate", deadline=READY, every=POLL)


def _resident(running: Running) -> float:
    return memory(running.family().own).rss


def _import_seconds() -> float:
    done = subprocess.run(
        [sys.executable, "-c", IMPORT],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=60,
        check=True,
    )
    return float(done.stdout)
