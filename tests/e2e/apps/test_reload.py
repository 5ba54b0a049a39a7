"""An app that is being written is served as it is now."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx

from tests.live import ROOT, free_port
from tests.waiting import wait_until

APP = """
from local_runtime import Runtime
from words import WORD

app = Runtime("said")

@app.handler("/")
def say(context, request):
    return WORD
"""


def test_a_change_of_the_app_or_of_its_neighbour_and_sighup_load_it_anew(tmp_path: Path) -> None:
    """Also after it was broken for a while."""
    (tmp_path / "said.py").write_text(APP)
    (tmp_path / "words.py").write_text("WORD = 'one'\n")
    port, log = free_port(), tmp_path / "log"
    command = [sys.executable, "-m", "local_runtime", "said.py", "--port", str(port), "--reload"]
    with log.open("wb") as out:
        process = subprocess.Popen(
            command,
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
            stdout=out,
            stderr=out,
        )

    def says() -> str:
        try:
            answer = httpx.post(f"http://127.0.0.1:{port}/", json={}, trust_env=False)
        except httpx.TransportError:
            return ""
        return answer.text if answer.status_code == 200 else ""

    try:
        wait_until(lambda: says() == '"one"', "it is served", within_s=60)
        (tmp_path / "words.py").write_text("WORD = 'two'\n")
        wait_until(lambda: says() == '"two"', "the change is served", within_s=60)
        (tmp_path / "said.py").write_text("this is no Python\n")
        wait_until(lambda: says() == "", "it is broken", within_s=60)
        (tmp_path / "said.py").write_text(APP)
        wait_until(lambda: says() == '"two"', "it is whole again", within_s=60)
        process.send_signal(signal.SIGHUP)
        wait_until(lambda: "SIGHUP" in log.read_text(), "it is loaded anew", within_s=60)
        wait_until(lambda: says() == '"two"', "it is served again", within_s=60)
    finally:
        process.terminate()
        process.wait(30)
    assert "words.py: the app is loaded anew" in log.read_text()
