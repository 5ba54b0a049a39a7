"""How an app's own server begins and ends, and that nothing outlives it."""

from __future__ import annotations

import signal
import socket
import sys
from pathlib import Path

import pytest

from tests.adapters.local.backends import parent_of
from tests.local_runtime.server.live_runtime import LiveRuntime, all_gone
from tests.waiting import wait_until


@pytest.mark.parametrize("told", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_server_and_its_workers(told: signal.Signals) -> None:
    with LiveRuntime("echo.py", "--workers", "2") as live:
        wait_until(lambda: len(live.workers()) == 2)
        workers = live.workers()
        assert live.signal(told) == 0
        assert all_gone(workers)
    assert "Traceback" not in live.printed


def test_a_server_that_is_killed_takes_its_workers_along() -> None:
    with LiveRuntime("echo.py") as live:
        workers = live.workers()
        live.signal(signal.SIGKILL)
        wait_until(lambda: all_gone(workers))


def test_a_call_under_way_may_end_before_the_server_does() -> None:
    call = b'POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{"echo":7}'
    with (
        LiveRuntime("steady.py") as live,
        live.client as client,
        socket.create_connection(("127.0.0.1", live.port), timeout=10) as caller,
    ):
        caller.sendall(call)
        wait_until(lambda: client.get("/_k/status").json()["inference_time"] > 0)
        assert live.signal(signal.SIGTERM) == 0
        assert caller.recv(4096).startswith(b"HTTP/1.1 200 OK")


def test_an_app_that_is_not_there_ends_the_server_with_a_word() -> None:
    """A missing file before anything starts; a missing name once a worker has looked."""
    for app, status, word in (
        ("no_such_file.py", 2, "no such file"),
        ("echo.py:nobody", 1, "has nothing named 'nobody'"),
    ):
        live = LiveRuntime(app).start()
        assert live.wait() == status
        assert word in live.printed


def test_a_port_that_is_taken_ends_the_server() -> None:
    live = LiveRuntime("echo.py")
    with socket.create_server(("127.0.0.1", live.port)):
        assert live.start().wait() != 0
    assert "address already in use" in live.printed


def test_none_of_the_runtimes_own_processes_is_large() -> None:
    """Server, supervisor, worker and spare, of an app without a model: 60 MiB each at most."""
    with LiveRuntime("echo.py", "--standby", "imported") as live:
        wait_until(lambda: len(live.workers()) == 2)
        assert live.process is not None
        worker = live.workers()[0]
        for pid in (live.process.pid, parent_of(worker), *live.workers()):
            assert 0 < resident_mib(pid) < 60


def resident_mib(pid: int) -> float:
    """As the kernel counts it (man 5 proc)."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


def test_workers_and_supervisor_do_not_import_the_http_server() -> None:
    """They stay light; the model's process has the memory for itself."""
    program = (
        "import sys, local_runtime.worker.process, local_runtime.supervisor.process\n"
        "import local_runtime.potassium\n"
        "sys.exit(bool({'starlette', 'uvicorn', 'redis', 'prometheus_client'} & {*sys.modules}))"
    )
    assert LiveRuntime("", command=[sys.executable, "-c", program]).start().wait() == 0
