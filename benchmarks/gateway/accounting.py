"""What processes cost: CPU time and memory, read from /proc.

CPU is utime + stime, of the processes alive and of the children they have reaped
(proc_pid_stat(5)); memory is the proportional set size, in which a page shared by n processes
counts 1/n in each, or the resident set size (proc_pid_smaps_rollup(5)).
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

import msgspec

PROC = Path("/proc")
TICKS = os.sysconf("SC_CLK_TCK")
MIB = 1024.0
"""KiB in a MiB."""


class Stat(msgspec.Struct, frozen=True, kw_only=True):
    """One line of /proc/PID/stat, as far as it is needed."""

    pid: int
    parent: int
    ticks: int
    """utime + stime + cutime + cstime."""
    born: int
    """Start time; with the pid it names a process for good."""


class Family(msgspec.Struct, frozen=True, kw_only=True):
    """A process and all its descendants, parted in two."""

    own: frozenset[int]
    apart: frozenset[int]
    """Those whose command line has the given word, and their descendants."""


class Memory(msgspec.Struct, frozen=True, kw_only=True):
    """MiB, summed over processes."""

    pss: float
    rss: float


def parse_stat(text: str) -> Stat:
    """One /proc/PID/stat. The name in parentheses may itself hold spaces and parentheses."""
    head, _, tail = text.rpartition(")")
    fields = tail.split()
    return Stat(
        pid=int(head.split(" ", 1)[0]),
        parent=int(fields[1]),
        ticks=sum(int(field) for field in fields[11:15]),
        born=int(fields[19]),
    )


def parse_rollup(text: str) -> Memory:
    """One /proc/PID/smaps_rollup, which counts in KiB."""
    amounts = {line.split(":")[0]: line.split()[1] for line in text.splitlines() if ":" in line}
    return Memory(pss=int(amounts["Pss"]) / MIB, rss=int(amounts["Rss"]) / MIB)


def read_stat(pid: int, proc: Path = PROC) -> Stat | None:
    """None where the process has ended."""
    try:
        return parse_stat((proc / str(pid) / "stat").read_text())
    except OSError:
        return None


def all_stats(proc: Path = PROC) -> dict[int, Stat]:
    pids = (int(entry.name) for entry in proc.iterdir() if entry.name.isdigit())
    stats = (read_stat(pid, proc) for pid in pids)
    return {stat.pid: stat for stat in stats if stat is not None}


def descendants(stats: Mapping[int, Stat], root: int) -> Iterator[int]:
    """``root`` first, parents before their children."""
    children: dict[int, list[int]] = {}
    for stat in stats.values():
        children.setdefault(stat.parent, []).append(stat.pid)
    queue = [root] if root in stats else []
    for pid in queue:
        yield pid
        queue.extend(children.get(pid, ()))


def family(root: int, *, apart: str | None = None, proc: Path = PROC) -> Family:
    """``root`` and its descendants; ``apart`` is a word in the command line of those who are
    counted for themselves, such as workers that run a model."""
    stats = all_stats(proc)
    everyone = list(descendants(stats, root))
    others: set[int] = set()
    for pid in everyone:
        if stats[pid].parent in others or _command_has(pid, apart, proc):
            others.add(pid)
    return Family(own=frozenset(everyone) - others, apart=frozenset(others))


def _command_has(pid: int, word: str | None, proc: Path) -> bool:
    if word is None:
        return False
    try:
        return word.encode() in (proc / str(pid) / "cmdline").read_bytes()
    except OSError:
        return False


def cpu_seconds(pids: Collection[int], proc: Path = PROC) -> float:
    """CPU seconds that the processes have used so far; those that have ended count nothing,
    since their parent, once it reaps them, counts them."""
    stats = (read_stat(pid, proc) for pid in pids)
    return sum(stat.ticks for stat in stats if stat is not None) / TICKS


def thread_seconds(pid: int, proc: Path = PROC) -> dict[int, float]:
    """Thread id -> CPU seconds so far, of one process."""
    tasks = proc / str(pid) / "task"
    threads = (read_stat(int(entry.name), tasks) for entry in tasks.iterdir())
    return {stat.pid: stat.ticks / TICKS for stat in threads if stat is not None}


def memory(pids: Collection[int], proc: Path = PROC) -> Memory:
    total = Memory(pss=0.0, rss=0.0)
    for pid in pids:
        try:
            one = parse_rollup((proc / str(pid) / "smaps_rollup").read_text())
        except (OSError, KeyError):
            continue
        total = Memory(pss=total.pss + one.pss, rss=total.rss + one.rss)
    return total
