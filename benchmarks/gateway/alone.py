"""Spillgate by itself: memory, the time until it is ready, the time that its import takes.

Every process finds its bytecode compiled, as one that is installed does, whatever the environment
of the benchmark says of that.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from benchmarks.gateway.accounting import cpu_seconds, memory
from benchmarks.gateway.contenders.base import Running
from benchmarks.gateway.contenders.spillgate import COMPILED, READY, Spillgate, is_ready
from benchmarks.gateway.figures import Alone
from benchmarks.gateway.load import LoadFailed, put_load
from benchmarks.gateway.processes import ROOT, Child
from benchmarks.gateway.stream_client import LENGTH, ask_in_process
from benchmarks.gateway.target import Target
from benchmarks.gateway.upstream import start_answers, start_streams

WARM_CALLS = 2000
POLL = 0.005
IMPORT = (
    "import time; t, c = time.perf_counter(), time.process_time(); import gateway.app; "
    "print(time.perf_counter() - t, time.process_time() - c)"
)


class Effort(msgspec.Struct, frozen=True, kw_only=True):
    calls: int = 100_000
    starts: int = 5
    connections: int = 32
    streams: int = 10_000
    streams_at_once: int = 400


def measure_alone(effort: Effort, folder: Path, say: Callable[[str], None]) -> Alone:
    """Raises StartFailed where the gateway does not start."""
    upstream, target = start_answers(folder)
    with upstream:
        # The first one fills the caches of bytecode and files.
        ready = [
            _time_to_ready(target, folder / f"start{number}", say)
            for number in range(effort.starts + 1)
        ][1:]
        idle, warm, after, calls = _memory(target, effort, folder / "memory", say)
    imported = [_import_seconds() for _ in range(effort.starts + 1)][1:]
    streams, streams_mib = _memory_of_streams(effort, folder / "streamed", say)
    return Alone(
        idle_mib=idle,
        warm_mib=warm,
        after_mib=after,
        calls=calls,
        ready_s=tuple(wall for wall, _ in ready),
        ready_cpu_s=tuple(cpu for _, cpu in ready),
        import_s=tuple(wall for wall, _ in imported),
        import_cpu_s=tuple(cpu for _, cpu in imported),
        streams=streams,
        streams_mib=streams_mib,
    )


def _time_to_ready(
    upstream: Target, folder: Path, say: Callable[[str], None]
) -> tuple[float, float]:
    """Seconds, and those of CPU among them."""
    say("time until ready")
    running = Spillgate(name="spillgate").launch(upstream, folder)
    begun = time.monotonic()
    with _child(running) as child:
        _wait(child, running.target)
        return time.monotonic() - begun, cpu_seconds(running.family().own)


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


def _memory_of_streams(
    effort: Effort, folder: Path, say: Callable[[str], None]
) -> tuple[int, float]:
    """How many streams ended whole, and the MiB that they added to what is resident."""
    folder.mkdir(parents=True)
    upstream, target = start_streams(folder)
    with upstream:
        running = Spillgate(name="spillgate").launch(target, folder)
        with _child(running) as child:
            _wait(child, running.target)
            time.sleep(1.0)
            idle = _resident(running)
            say(f"memory: {effort.streams:,} streams, {effort.streams_at_once} at a time")
            repeat = effort.streams // effort.streams_at_once
            seen = ask_in_process(
                running.target, effort.streams_at_once, repeat, limit_s=LENGTH * repeat + 60
            )
            time.sleep(1.0)
            return seen.complete, _resident(running) - idle


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


def _import_seconds() -> tuple[float, float]:
    """Seconds, and those of CPU."""
    done = subprocess.run(
        [sys.executable, "-c", IMPORT],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, **COMPILED},
        timeout=60,
        check=True,
    )
    wall, cpu = map(float, done.stdout.split())
    return wall, cpu
