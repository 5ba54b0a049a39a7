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
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec

from benchmarks.gateway.accounting import cpu_seconds
from benchmarks.gateway.contenders.base import Running
from benchmarks.gateway.contenders.spillgate import Spillgate
from benchmarks.gateway.environments import PROFILER
from benchmarks.gateway.load import put_load
from benchmarks.gateway.processes import ROOT, StartFailed
from benchmarks.gateway.table import plain
from benchmarks.gateway.upstream import start_answers, start_streams

RATE = 250
STREAMS = 256
WAITING = frozenset(("epoll_wait", "epoll_pwait", "select", "futex"))
"""Innermost native frames of a thread that waits: no CPU goes there."""


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """Samples, in which a function counts once for each stack that it stands in."""

    total: int
    itself: dict[str, int]
    """Samples in which the function was the innermost."""
    within: dict[str, int]
    """Samples in which it was anywhere on the stack."""
    files: dict[str, int]
    """Innermost, by file."""


def read_profile(raw: str) -> Profile:
    """py-spy's raw format: a line a stack, frames from outermost, ``;`` between, then a count."""
    itself, within, files = Counter[str](), Counter[str](), Counter[str]()
    for line in raw.splitlines():
        stack, _, count = line.rpartition(" ")
        frames = [_shorten(frame) for frame in stack.split(";")]
        if frames[-1].partition(" ")[0] in WAITING:
            continue
        itself[frames[-1]] += int(count)
        files[_file(frames[-1])] += int(count)
        for frame in set(frames):
            within[frame] += int(count)
    return Profile(total=itself.total(), itself=itself, within=within, files=files)


def _shorten(frame: str) -> str:
    """``name (/long/site-packages/x.py:3)`` -> ``name (x.py)``; lines of one function add up."""
    name, found, place = frame.partition(" (")
    if not found:
        return frame
    path = place.rstrip(")").rpartition(":")[0] or place.rstrip(")")
    return f"{name} ({path.rpartition('site-packages/')[2].removeprefix(f'{ROOT}/')})"


def _file(frame: str) -> str:
    return frame.partition(" (")[2].rstrip(")") or "native"


def tables(profile: Profile, *, rows: int, microseconds: float) -> str:
    """``microseconds`` is the CPU of one request; every share is also shown as its part of it."""
    parts = (("itself", profile.itself), ("with what it calls", profile.within))
    lines = []
    for title, counts in (*parts, ("by file, itself", profile.files)):
        most = sorted(counts.items(), key=lambda item: -item[1])[:rows]
        cells = [_cells(name, count / max(1, profile.total), microseconds) for name, count in most]
        lines += [*plain((title, "share", "µs"), cells), ""]
    return "\n".join(lines)


def _cells(name: str, share: float, microseconds: float) -> tuple[str, str, str]:
    return name, f"{share:.1%}", f"{share * microseconds:.1f}"


def sample(running: Running, options: argparse.Namespace, output: Path) -> Profile:
    """Raises StartFailed where py-spy may not read the process (it needs ptrace)."""
    PROFILER.ensure()
    assert running.child is not None
    command = [
        *(str(PROFILER.python.with_name("py-spy")), "record", "--pid", str(running.child.pid)),
        *("--duration", str(options.seconds), "--rate", str(RATE), "--format", "raw"),
        *("--output", str(output), *(["--native"] if options.native else [])),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=options.seconds + 60)
    if done.returncode != 0:
        raise StartFailed(f"py-spy: {done.stderr.strip()[-300:]}")
    return read_profile(output.read_text())


class Served(msgspec.Struct, frozen=True, kw_only=True):
    """What was answered while the samples were taken."""

    units: int
    cpu_s: float

    @property
    def microseconds(self) -> float:
        return self.cpu_s * 1e6 / max(1, self.units)


def loaded(running: Running, options: argparse.Namespace) -> Served:
    """The load outlives the samples by a second or two."""
    own = running.family().own
    before = cpu_seconds(own)
    units = _stream(running, options) if options.setup == "streams" else _post(running, options)
    return Served(units=units, cpu_s=cpu_seconds(own) - before)


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
        gateway = Spillgate(name="spillgate", local=options.setup == "local")
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
        found = samples.result()
    what = "delta" if options.setup == "streams" else "request"
    head = f"{served.units:,} {what}s, {served.microseconds:.0f} µs of CPU each (sampled)\n\n"
    return head + tables(found, rows=options.rows, microseconds=served.microseconds)


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
