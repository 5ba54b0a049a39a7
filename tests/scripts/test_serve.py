"""The gateway and its spare backend live and die together."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gateway.cli.serving.local_socket import LocalSocket
from scripts.serve import environment, main, needs_overflow
from tests.waiting import wait_until

ROOT = Path(__file__).parents[2]
HEAD = "import os, pathlib, signal, sys, time\n"
SAYS_ITS_PID = "pathlib.Path(sys.argv[1]).write_text(str(os.getpid()))\n"
SLEEPS = HEAD + SAYS_ITS_PID + "time.sleep(60)\n"
STUBBORN = (
    HEAD
    + "told = pathlib.Path(sys.argv[1] + '.told')\n"
    + "signal.signal(signal.SIGTERM, lambda *_: told.touch())\n"
    + SAYS_ITS_PID
    + "while True: time.sleep(60)\n"
)
LEAVES_A_CHILD = "import subprocess, sys; subprocess.Popen(['sleep', '60'])\n" + SLEEPS
KEEP = """
import os, pathlib, sys
from scripts.serve import Program, keep_together
folder = pathlib.Path(sys.argv[1])
first, second = (
    Program(name, [sys.executable, "-c", code, str(folder / name)], grace_s=float(sys.argv[4]))
    for name, code in (("first", sys.argv[2]), ("second", sys.argv[3]))
)
second = second._replace(log=folder / "second.log")
sys.exit(keep_together([first, second], os.environ))
"""


class Pair:
    """``keep_together`` in a process of its own, over two small programs."""

    def __init__(self, folder: Path, first: str, second: str, grace_s: float) -> None:
        self.folder = folder
        self.process = subprocess.Popen(
            [sys.executable, "-c", KEEP, str(folder), first, second, str(grace_s)],
            cwd=ROOT,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def pid(self, name: str) -> int:
        path = self.folder / name
        wait_until(lambda: path.exists() and path.read_text() != "")
        return int(path.read_text())

    def end(self) -> tuple[int, str]:
        _, errors = self.process.communicate(timeout=30)
        return self.process.returncode, errors


def gone(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return True
    return state == "Z"


Start = Callable[..., Pair]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    started: list[Pair] = []

    def begin(first: str = SLEEPS, second: str = SLEEPS, grace_s: float = 20) -> Pair:
        started.append(Pair(tmp_path, first, second, grace_s))
        return started[-1]

    yield begin
    for pair in started:
        pair.process.kill()
        pair.process.communicate(timeout=30)


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGHUP"])
def test_a_signal_ends_both_and_is_no_failure(start: Start, name: str) -> None:
    pair = start()
    pids = [pair.pid("first"), pair.pid("second")]
    pair.process.send_signal(signal.Signals[name])
    assert pair.end() == (0, "")
    assert all(gone(pid) for pid in pids)


@pytest.mark.parametrize("dies", ["first", "second"])
def test_the_death_of_either_ends_the_other_and_is_told(start: Start, dies: str) -> None:
    pair = start()
    pids = {name: pair.pid(name) for name in ("first", "second")}
    os.kill(pids[dies], signal.SIGKILL)
    status, errors = pair.end()
    assert status == 1
    assert f"{dies} ended by itself (signal SIGKILL)." in errors
    assert all(gone(pid) for pid in pids.values())


def test_what_the_spare_backend_said_last_is_shown_when_it_fails(start: Start) -> None:
    """Its log is kept off the terminal, until it is what one needs to read."""
    pair = start(second="raise SystemExit('the port 8700 is taken')")
    status, errors = pair.end()
    assert status == 1
    assert "second ended by itself (exit status 1)." in errors
    assert "the port 8700 is taken" in errors


def test_one_that_will_not_end_is_killed(start: Start) -> None:
    pair = start(first=STUBBORN, grace_s=0.2)
    pids = [pair.pid("first"), pair.pid("second")]
    pair.process.terminate()
    status, errors = pair.end()
    assert (status, "first did not end in time and is killed." in errors) == (0, True)
    assert all(gone(pid) for pid in pids)


def test_a_second_ctrl_c_does_not_wait(start: Start) -> None:
    pair = start(first=STUBBORN, grace_s=600)
    pids = [pair.pid("first"), pair.pid("second")]
    pair.process.send_signal(signal.SIGINT)
    wait_until((pair.folder / "first.told").exists)
    pair.process.send_signal(signal.SIGINT)
    assert "Not waiting for calls under way." in pair.end()[1]
    assert all(gone(pid) for pid in pids)


def test_what_a_program_left_running_goes_with_it(start: Start) -> None:
    pair = start(first=LEAVES_A_CHILD)
    first = pair.pid("first")
    children = Path(f"/proc/{first}/task/{first}/children").read_text().split()
    pair.process.terminate()
    pair.end()
    assert len(children) == 1
    wait_until(lambda: gone(int(children[0])))


@pytest.mark.skipif(sys.platform != "linux", reason="other kernels do not tell of a parent's death")
def test_both_end_even_when_their_keeper_is_killed(start: Start) -> None:
    pair = start()
    pids = [pair.pid("first"), pair.pid("second")]
    pair.process.kill()
    wait_until(lambda: all(gone(pid) for pid in pids))


def test_a_key_that_the_user_set_is_kept_and_a_missing_one_is_filled_in() -> None:
    assert environment({"HOME": "/h"}, demo_key="d") == {"HOME": "/h", "RUNPOD_API_KEY": "d"}
    assert environment({"RUNPOD_API_KEY": "mine"}, demo_key="d")["RUNPOD_API_KEY"] == "mine"


@pytest.mark.parametrize(
    ("text", "needed"),
    [
        ("base_url: http://127.0.0.1:8700/v2", True),
        ("base_url: 'http://localhost:8700'", True),
        ("base_url: http://127.0.0.1:87001/v2", False),
        ("# base_url: http://127.0.0.1:8700/v2", False),
        ("base_url: https://api.runpod.ai/v2", False),
    ],
)
def test_the_spare_backend_is_started_for_a_policy_that_names_it(
    text: str, needed: bool, tmp_path: Path
) -> None:
    """A file, or a folder of them."""
    (tmp_path / "p.yaml").write_text(f"version: 1\n{text}\n")
    assert needs_overflow(tmp_path / "p.yaml", 8700) == needs_overflow(tmp_path, 8700) == needed


def test_the_default_policy_names_it_and_another_port_must_be_named_too(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    config = ROOT / "config" / "default.yaml"
    assert needs_overflow(config, 8700)
    words = ["--config", str(config), "--overflow-port", "8701", "--data", str(tmp_path)]
    assert main(words) == 1
    assert "is at 127.0.0.1:8701: write the port into its base_url" in capsys.readouterr().err


def test_a_spare_backend_whose_port_is_taken_is_told_before_anything_starts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        config = tmp_path / "p.yaml"
        config.write_text(f"base_url: http://127.0.0.1:{port}\n")
        words = ["--config", str(config), "--overflow-port", str(port), "--data", str(tmp_path)]
        assert main(words) == 1
    said = capsys.readouterr().err
    assert f"The port {port}" in said
    assert f"make serve OVERFLOW_PORT={port + 1}" in said


def test_a_second_one_beside_it_is_told_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And nothing of the first is touched."""
    config = tmp_path / "policy.yaml"
    config.write_text(f"version: 1\nserver: {{data: {tmp_path / 'data'}}}\n")
    (tmp_path / "data").mkdir()
    first = LocalSocket(tmp_path / "data")
    try:
        assert main(["--config", str(config), "--data", str(tmp_path / "log")]) == 1
    finally:
        first.close()
    assert "A gateway runs already" in capsys.readouterr().err
