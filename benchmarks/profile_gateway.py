"""Where the gateway's CPU goes under load: samples of a running ``spillgate serve``.

py-spy reads the stacks from outside, so the gateway runs at its own speed, and native frames
(uvloop, httptools, SQLite) are seen as well. It is installed into .bench/py-spy on demand.

    python -m benchmarks.profile_gateway                     passed on to an upstream
    python -m benchmarks.profile_gateway --setup local       answered by a local worker
    python -m benchmarks.profile_gateway --setup streams     256 paced streams
    python -m benchmarks.profile_gateway --native --seconds 20 --raw profile.txt
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec

from benchmarks.gateway.accounting import thread_seconds
from benchmarks.gateway.contenders.base import Running
from benchmarks.gateway.contenders.spillgate import Setup, Spillgate
from benchmarks.gateway.environments import PROFILER
from benchmarks.gateway.load import put_load
from benchmarks.gateway.processes import ROOT, StartFailed
from benchmarks.gateway.table import plain
from benchmarks.gateway.upstream import start_answers, start_streams

RATE = 250
STREAMS = 256
_THREAD = re.compile(r"thread \((\d+)\)")
Counts = dict[str, float]


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """Microseconds of CPU in one unit of work, in which a function counts once a stack."""

    threads: dict[str, float]
    itself: dict[str, float]
    """Where the function was the innermost."""
    within: dict[str, float]
    """Where it was anywhere on the stack."""
    files: dict[str, float]
    """Innermost, by file."""


def read_profile(raw: str, microseconds: Mapping[int, float]) -> Profile:
    """``raw`` is py-spy's format of that name, with threads: a line a stack, frames from outermost
    with ``;`` between, then a count. ``microseconds`` is what each thread really used, by its id:
    a thread that waits for a lock is sampled as often as one that works, so samples only
    share out what their own thread used."""
    stacks = [_stack(line) for line in raw.splitlines()]
    samples = Counter[str]()
    for frames, count in stacks:
        samples[frames[0]] += count
    threads = {name: microseconds.get(_thread_id(name), 0.0) for name in samples}
    itself: Counts = {}
    within: Counts = {}
    files: Counts = {}
    for frames, count in stacks:
        _add(itself, within, files, frames, count * threads[frames[0]] / samples[frames[0]])
    return Profile(threads=threads, itself=itself, within=within, files=files)


def _stack(line: str) -> tuple[list[str], int]:
    stack, _, count = line.rpartition(" ")
    thread, *frames = stack.split(";")
    return [thread, *map(_shorten, frames)], int(count)


def _add(
    itself: Counts, within: Counts, files: Counts, frames: Sequence[str], weight: float
) -> None:
    itself[frames[-1]] = itself.get(frames[-1], 0.0) + weight
    file = _file(frames[-1])
    files[file] = files.get(file, 0.0) + weight
    for frame in set(frames[1:]):
        within[frame] = within.get(frame, 0.0) + weight


def _thread_id(name: str) -> int:
    """``thread (123): MainThread`` -> 123."""
    found = _THREAD.match(name)
    return int(found[1]) if found else 0


def _shorten(frame: str) -> str:
    """``name (/long/site-packages/x.py:3)`` -> ``name (x.py)``; lines of one function add up."""
    name, found, place = frame.partition(" (")
    if not found:
        return frame
    path = place.rstrip(")").rpartition(":")[0] or place.rstrip(")")
    return f"{name} ({path.rpartition('site-packages/')[2].removeprefix(f'{ROOT}/')})"


def _file(frame: str) -> str:
    return frame.partition(" (")[2].rstrip(")") or "native"


def tables(profile: Profile, *, rows: int) -> str:
    total = sum(profile.threads.values())
    lines: list[str] = []
    for title, counts in (
        ("thread", profile.threads),
        ("function itself", profile.itself),
        ("function with what it calls", profile.within),
        ("file, its functions themselves", profile.files),
    ):
        most = sorted(counts.items(), key=lambda item: -item[1])[:rows]
        cells = [(name, f"{one:.1f}", f"{one / max(total, 1e-9):.1%}") for name, one in most]
        lines += [*plain((title, "µs", "share"), cells), ""]
    return "\n".join(lines)


def sample(running: Running, options: argparse.Namespace, output: Path) -> str:
    """Raises StartFailed where py-spy may not read the process (it needs ptrace)."""
    PROFILER.ensure()
    assert running.child is not None
    command = [
        *(str(PROFILER.python.with_name("py-spy")), "record", "--pid", str(running.child.pid)),
        *("--duration", str(options.seconds), "--rate", str(RATE), "--format", "raw"),
        *("--threads", "--output", str(output), *(["--native"] if options.native else [])),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=options.seconds + 60)
    if done.returncode != 0:
        raise StartFailed(f"py-spy: {done.stderr.strip()[-300:]}")
    return output.read_text()


class Served(msgspec.Struct, frozen=True, kw_only=True):
    """What was answered, and what each thread of the gateway used for one of it."""

    units: int
    microseconds: dict[int, float]


def loaded(running: Running, options: argparse.Namespace) -> Served:
    """The load outlives the samples by a second or two."""
    assert running.child is not None
    before = thread_seconds(running.child.pid)
    units = _stream(running, options) if options.setup == "streams" else _post(running, options)
    after = thread_seconds(running.child.pid)
    used = {thread: seconds - before.get(thread, 0.0) for thread, seconds in after.items()}
    return Served(
        units=units,
        microseconds={thread: one * 1e6 / max(1, units) for thread, one in used.items()},
    )


def _post(running: Running, options: argparse.Namespace) -> int:
    seconds = options.seconds + 2
    return put_load(running.target, seconds=seconds, connections=options.connections).requests


def _stream(running: Running, options: argparse.Namespace) -> int:
    """Deltas: as many streams in a row as the seconds need."""
    repeat: int = round(options.seconds / 1.28) + 1
    target = running.target
    command = [sys.executable, "-m", "benchmarks.gateway.stream_client", "--url", target.url]
    wanted = ["--key", target.key, "--streams", str(STREAMS), "--repeat", str(repeat)]
    limit = options.seconds + 60
    subprocess.run([*command, *wanted], cwd=ROOT, timeout=limit, check=True, capture_output=True)
    return STREAMS * repeat * 64


def profile(options: argparse.Namespace, folder: Path) -> str:
    start = start_streams if options.setup == "streams" else start_answers
    upstream, target = start(folder)
    with upstream:
        gateway = Spillgate(name="spillgate", setup=Setup(local=options.setup == "local"))
        running = gateway.start(target, folder / "gateway")
        try:
            return _profile_running(running, options, folder)
        finally:
            running.stop()


def _profile_running(running: Running, options: argparse.Namespace, folder: Path) -> str:
    put_load(running.target, seconds=1, connections=options.connections)
    with ThreadPoolExecutor(1) as beside:
        samples = beside.submit(sample, running, options, options.raw or folder / "raw.txt")
        served = loaded(running, options)
        found = read_profile(samples.result(), served.microseconds)
    what = "delta" if options.setup == "streams" else "request"
    total = sum(served.microseconds.values())
    head = f"{served.units:,} {what}s, {total:.0f} µs of CPU each while sampled\n\n"
    return head + tables(found, rows=options.rows)


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--setup", choices=("passed", "local", "streams"), default="passed")
    parser.add_argument("--seconds", type=int, default=8)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--rows", type=int, default=30)
    parser.add_argument("--native", action="store_true", help="frames of C code too")
    parser.add_argument("--raw", type=Path, help="keep the stacks, for a flame graph")
    return parser.parse_args(arguments)


def main() -> int:
    options = parse()
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        try:
            print(profile(options, Path(folder)))
        except StartFailed as error:
            print(error, file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
