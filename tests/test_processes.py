"""The suite's own promise: what a test starts ends with it, though the run be killed."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.live import ROOT
from tests.waiting import wait_until

STARTS = """
import os, subprocess, sys, time
from pathlib import Path

def start() -> int:
    command = [sys.executable, "-c", "import time; time.sleep(600)"]
    return subprocess.Popen(command, start_new_session=True).pid

def write(name: str, text: object) -> None:
    whole = Path(__file__).with_name(name + ".new")
    whole.write_text(str(text))
    whole.rename(whole.with_suffix(""))
"""
HANGS = """
def test_that_hangs() -> None:
    write("runner", os.getpid())
    write("started", start())
    time.sleep(600)
"""
LEAVES = """
import pytest

@pytest.fixture(scope="session")
def server() -> None:
    write("by_a_fixture", start())

def test_with_a_server(server: None) -> None:
    pass

def test_that_leaves() -> None:
    write("by_a_test", start())

def test_that_is_the_last() -> None:
    pass
"""
NEXT_FILE = "def test_of_another_file() -> None: ...\n"


def run_of(folder: Path, *options: str) -> subprocess.Popen[str]:
    """Pytest over the tests in a folder, by the rules of this suite."""
    rules = ["-c", str(ROOT / "pyproject.toml"), "-p", "tests.conftest", "-p", "no:cacheprovider"]
    return subprocess.Popen(
        [sys.executable, "-m", "pytest", *rules, *options, str(folder)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def pid_in(file: Path) -> int:
    wait_until(file.exists, f"{file.name} is written")
    return int(file.read_text())


def is_alive(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2]
    except OSError:
        return False
    return status.split()[0] != "Z"


@pytest.fixture
def hanging(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[subprocess.Popen[str]]:
    (tmp_path / "test_it.py").write_text(STARTS + HANGS)
    with run_of(tmp_path, *request.param) as run:
        yield run
        run.kill()


ONE_WORKER = ("-n", "1", "--max-worker-restart", "0")


@pytest.mark.parametrize(
    "hanging", [("-n", "0"), ONE_WORKER], ids=["alone", "xdist"], indirect=True
)
def test_a_run_that_is_killed_leaves_nothing_running(
    hanging: subprocess.Popen[str], tmp_path: Path
) -> None:
    started, runner = pid_in(tmp_path / "started"), pid_in(tmp_path / "runner")
    assert is_alive(started)
    hanging.kill()
    wait_until(lambda: not is_alive(started), "what the test started ends")
    wait_until(lambda: not is_alive(runner), "the worker of the run ends")


@pytest.mark.parametrize("hanging", [ONE_WORKER], ids=["xdist"], indirect=True)
def test_a_worker_that_is_killed_leaves_nothing_running(
    hanging: subprocess.Popen[str], tmp_path: Path
) -> None:
    started = pid_in(tmp_path / "started")
    os.kill(pid_in(tmp_path / "runner"), signal.SIGKILL)
    wait_until(lambda: not is_alive(started), "what the test started ends")


@pytest.mark.parametrize("options", [("-n", "0"), ("-n", "1")], ids=["alone", "xdist"])
def test_a_test_that_leaves_something_running_is_named(
    options: Sequence[str], tmp_path: Path
) -> None:
    """By the last test of its file; what a session's fixture started, by the last test of all."""
    (tmp_path / "test_a.py").write_text(STARTS + LEAVES)
    (tmp_path / "test_b.py").write_text(NEXT_FILE)
    run = run_of(tmp_path, "-o", "processes_end_within=0.5", *options)
    said, _ = run.communicate(timeout=120)
    assert run.returncode == 1
    by_a_fixture, by_a_test = pid_in(tmp_path / "by_a_fixture"), pid_in(tmp_path / "by_a_test")
    errors = dict(re.findall(r"ERROR at teardown of (\w+) _.*?\n(.*?)(?=\n___|\n===)", said, re.S))
    assert set(errors) == {"test_that_is_the_last", "test_of_another_file"}
    first, last = errors["test_that_is_the_last"], errors["test_of_another_file"]
    assert re.search(rf"\({by_a_test}\), of \S*test_a.py::test_that_leaves \(call\)", first)
    assert str(by_a_fixture) not in first
    assert re.search(rf"\({by_a_fixture}\), of \S*test_a.py::test_with_a_server \(setup\)", last)
    for pid in by_a_fixture, by_a_test:
        wait_until(lambda pid=pid: not is_alive(pid), "what was left is killed")  # type: ignore[misc]
