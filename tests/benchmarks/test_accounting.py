"""CPU and memory are read from /proc rightly, and for the right processes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from benchmarks.gateway.accounting import (
    TICKS,
    cpu_seconds,
    family,
    memory,
    parse_rollup,
    parse_stat,
)
from benchmarks.gateway.processes import Child
from tests.waiting import wait_until

STAT = "{pid} ({name}) S {parent} 1 1 0 -1 4194560 9 8 7 6 {user} {system} 30 4 20 0 1 0 777 99"


class FakeProc:
    """A folder that looks like /proc."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def add(self, pid: int, parent: int, *, command: str = "serve", ticks: int = 0) -> None:
        entry = self.folder / str(pid)
        entry.mkdir()
        line = STAT.format(pid=pid, name="x", parent=parent, user=ticks, system=0)
        (entry / "stat").write_text(line)
        (entry / "cmdline").write_bytes(command.replace(" ", "\0").encode())
        (entry / "smaps_rollup").write_text("0-1 ---p 0 [rollup]\nRss:  2048 kB\nPss: 1024 kB\n")


def test_a_name_with_spaces_and_parentheses_does_not_shift_the_fields() -> None:
    stat = parse_stat(STAT.format(pid=42, name="a (b) c", parent=7, user=100, system=20))
    assert (stat.pid, stat.parent, stat.born) == (42, 7, 777)


def test_cpu_counts_user_system_and_reaped_children() -> None:
    assert parse_stat(STAT.format(pid=1, name="x", parent=0, user=100, system=20)).ticks == 154


def test_memory_is_read_in_mebibytes() -> None:
    found = parse_rollup(
        "55-7f ---p 00 [rollup]\nRss:    10240 kB\nPss:     5120 kB\nShared: 1 kB\n"
    )
    assert (found.rss, found.pss) == (10.0, 5.0)


def test_a_family_holds_grandchildren_and_no_strangers(tmp_path: Path) -> None:
    proc = FakeProc(tmp_path)
    for pid, parent in ((10, 1), (11, 10), (12, 11), (20, 1)):
        proc.add(pid, parent)
    assert family(10, proc=tmp_path).own == {10, 11, 12}


def test_workers_and_their_children_are_counted_apart(tmp_path: Path) -> None:
    """A worker that multiprocessing started does not say local_runtime; its parent does."""
    proc = FakeProc(tmp_path)
    proc.add(10, 1, command="python spillgate serve")
    proc.add(11, 10, command="python -m local_runtime.supervisor.lifecycle")
    proc.add(12, 11, command="python -c spawn_main")
    found = family(10, apart="local_runtime.", proc=tmp_path)
    assert found.own == {10}
    assert found.apart == {11, 12}


def test_a_family_whose_root_has_ended_is_empty(tmp_path: Path) -> None:
    assert family(10, proc=tmp_path).own == frozenset()


def test_the_cpu_of_several_processes_adds_up_and_the_dead_count_nothing(tmp_path: Path) -> None:
    proc = FakeProc(tmp_path)
    proc.add(10, 1, ticks=66)
    proc.add(11, 10, ticks=166)
    assert cpu_seconds([10, 11, 99], tmp_path) == (100 + 200) / TICKS


def test_the_memory_of_several_processes_adds_up(tmp_path: Path) -> None:
    proc = FakeProc(tmp_path)
    proc.add(10, 1)
    proc.add(11, 10)
    found = memory([10, 11, 99], tmp_path)
    assert (found.rss, found.pss) == (4.0, 2.0)


def test_real_processes_are_found_and_cost_something() -> None:
    own = family(os.getpid()).own
    assert os.getpid() in own
    assert cpu_seconds(own) > 0
    assert memory([os.getpid()]).rss >= memory([os.getpid()]).pss > 1


def test_stopping_a_child_ends_its_descendants_in_other_sessions_too(tmp_path: Path) -> None:
    """The child starts a grandchild that leaves the process group and ignores SIGTERM."""
    grandchild = (
        "import signal, time; signal.signal(15, 1); print('up', flush=True); time.sleep(60)"
    )
    code = (
        "import subprocess, sys, time;"
        f"subprocess.Popen([sys.executable, '-c', {grandchild!r}], start_new_session=True);"
        "time.sleep(60)"
    )
    log = tmp_path / "log"
    with Child([sys.executable, "-c", code], log=log) as child:
        child.wait_until(lambda: "up" in log.read_text(), what="grandchild", deadline=20)
        members = family(child.pid).own
        assert len(members) == 2
    wait_until(lambda: not [pid for pid in members if _lives(pid)], "all have ended")


def test_a_paused_child_stands_still_and_is_ended_all_the_same(tmp_path: Path) -> None:
    """With all its descendants, which use no time while another contender is measured."""
    code = (
        "import subprocess, sys, time;"
        "subprocess.Popen([sys.executable, '-c', 'while True: pass']);"
        "print('up', flush=True); time.sleep(60)"
    )
    log = tmp_path / "log"
    with Child([sys.executable, "-c", code], log=log) as child:
        child.wait_until(lambda: "up" in log.read_text(), what="child", deadline=20)
        child.pause()
        members = family(child.pid).own
        wait_until(lambda: {_state(pid) for pid in members} == {"T"}, "both stand still")
        child.resume()
        wait_until(lambda: "R" in {_state(pid) for pid in members}, "the busy one is at work")
        child.pause()
    wait_until(lambda: not [pid for pid in members if _lives(pid)], "all have ended")


def _state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def _lives(pid: int) -> bool:
    done = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True)
    return bool(done.stdout.strip()) and not done.stdout.startswith("Z")
