"""A call that waits for the start of an app by itself, and what the start took."""

from __future__ import annotations

import re
import signal
import sys
from pathlib import Path

import httpx
import pytest

from local_runtime.__main__ import main
from local_runtime.server.routes import patience_of
from tests.live import ROOT
from tests.local_runtime.server.live_runtime import PROGRAMS, LiveRuntime
from tests.waiting import wait_until


def test_a_caller_who_prefers_to_wait_is_answered_and_told_what_the_start_took(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Stage by stage; a caller who does not say so gets 503 at once."""
    monkeypatch.setenv("SLOW_INIT", "0.4")
    with LiveRuntime("slow_start.py", "--standby", "loaded").started() as live:
        wait_until(lambda: live.answers("/healthz"))
        with live.client as client:
            assert client.post("/", json="live").status_code == 503
            waited = client.post("/", json="live", headers={"Prefer": "wait=20"})
            assert waited.status_code == 200
            timing = timings(waited)
            assert list(timing) == ["cold", "process", "load", "init", "warmup", "queue", "exec"]
            assert timing["init"] >= 400
            assert timing["cold"] > 0
            assert "server-timing" not in client.post("/", json="live").headers
            wait_until(lambda: "runtime_spares_waiting 1.0" in client.get("/metrics").text)
            text = client.get("/metrics").text
            for stage in ("process", "load", "init", "warmup", "first_call"):
                assert f'runtime_start_seconds{{stage="{stage}",worker="worker-0"}}' in text


def timings(response: httpx.Response) -> dict[str, float]:
    """Milliseconds by name."""
    found = re.findall(r"(\w+);dur=([\d.]+)", response.headers["server-timing"])
    return {name: float(value) for name, value in found}


@pytest.mark.parametrize(
    ("prefer", "seconds"),
    [
        ("wait=30", 30),
        ("respond-async, wait=5", 5),
        ('wait="7"', 7),
        ("wait=999999", 600),
        ("respond-async", 0),
        ("await=3", 0),
        ("", 0),
    ],
)
def test_patience_is_read_from_the_prefer_header(prefer: str, seconds: float) -> None:
    assert patience_of({"prefer": prefer}) == seconds


def test_what_prints_where_the_supervisor_reports_is_named_and_not_waited_for(
    tmp_path: Path,
) -> None:
    """A sitecustomize of the user's, say: the server would be loading for ever without a word."""
    (tmp_path / "sitecustomize.py").write_text("print('hello', flush=True)")
    app = str(PROGRAMS / "echo.py")
    serve = f'exec {sys.executable} -m local_runtime {app} --port "$PORT"'
    command = ["env", f"PYTHONPATH={tmp_path}:{ROOT}", "sh", "-c", serve]
    with LiveRuntime("echo.py", command=command).started() as live, live.client as client:
        wait_until(lambda: live.answers("/readyz", 503))
        wait_until(lambda: "prints into its supervisor" in client.get("/readyz").json()["detail"])
        assert live.signal(signal.SIGTERM) == 0


def test_a_port_that_there_is_not_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """The loop would listen on what is left of the number in 16 bits."""
    for port in ("70000", "0", "-1"):
        with pytest.raises(SystemExit):
            main([str(PROGRAMS / "echo.py"), f"--port={port}"])
    assert capsys.readouterr().err.count("--port is 1 to 65535") == 3
