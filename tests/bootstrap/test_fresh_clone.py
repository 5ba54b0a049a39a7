"""The first five minutes of a newcomer: clone, ``make serve``, paste."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.live import free_port
from tests.run_guard import VARIABLE

ROOT = Path(__file__).parents[2]
INSTALL_S = 1200.0
"""A slow connection downloads torch in this time."""
SERVE_S = 120.0


class Newcomer:
    """A clone of what is committed, and an environment in which nothing of ours is installed."""

    def __init__(self, folder: Path) -> None:
        self.clone = folder / "clone"
        self.home = folder / "home"
        self.home.mkdir()
        self.port, self.overflow_port = free_port(), free_port()
        self.output = folder / "output"
        subprocess.run(
            ["git", "clone", "--quiet", "--no-hardlinks", str(ROOT), str(self.clone)],
            check=True,
            timeout=120,
        )
        self._move_to_free_ports(self.clone / "config" / "default.yaml")
        self.make = self._start()

    def _move_to_free_ports(self, config: Path) -> None:
        # The ports of the default policy may be in use on a machine that runs tests.
        text = config.read_text()
        assert "127.0.0.1:8443" in text
        assert "127.0.0.1:8700" in text
        text = text.replace("127.0.0.1:8443", f"127.0.0.1:{self.port}")
        config.write_text(text.replace("127.0.0.1:8700", f"127.0.0.1:{self.overflow_port}"))

    def _start(self) -> subprocess.Popen[bytes]:
        with self.output.open("wb") as output:
            return subprocess.Popen(
                ["make", "serve", f"OVERFLOW_PORT={self.overflow_port}"],
                cwd=self.clone,
                env=self.environ(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def environ(self) -> dict[str, str]:
        """A bare one that keeps where packages come from, what was downloaded, whose run it is."""
        proxies = "https?_proxy|HTTPS?_PROXY|no_proxy"
        kept = re.compile(rf"PIP_|SSL_|REQUESTS_|LANG|LC_|{proxies}|{VARIABLE}")
        python = Path(sys.base_prefix) / "bin"
        return {
            **{name: value for name, value in os.environ.items() if kept.match(name)},
            "HOME": str(self.home),
            "PATH": f"{python}:/usr/local/bin:/usr/bin:/bin",
            "PIP_CACHE_DIR": pip_says("cache", "dir"),
        }

    @property
    def printed(self) -> str:
        return self.output.read_text(errors="replace")

    def block(self, title: str) -> str:
        """The lines under a title of what was printed, exactly as one would copy them."""
        found = re.search(rf"^{re.escape(title)}\n\n?((?:.+\n)+)", self.printed, re.MULTILINE)
        assert found is not None, f"{title!r} is not in:\n{self.printed}"
        return found[1]

    def until(self, holds: Callable[[], bool], within_s: float, what: str) -> None:
        deadline = time.monotonic() + within_s
        while not holds():
            assert self.make.poll() is None, f"make ended:\n{self.printed[-4000:]}"
            assert time.monotonic() < deadline, f"{what} took too long:\n{self.printed[-4000:]}"
            time.sleep(0.1)

    def ready(self) -> bool:
        url = f"https://127.0.0.1:{self.port}/readyz"
        ca = self.clone / ".spillgate" / "tls" / "ca.pem"
        try:
            trust = ssl.create_default_context(cafile=str(ca))
            with urllib.request.urlopen(url, timeout=10, context=trust) as answer:
                return bool(answer.status == 200)
        except urllib.error.HTTPError as not_yet:
            not_yet.close()
            return False
        except OSError:
            return False

    def listens(self, port: int) -> bool:
        with socket.socket() as probe:
            probe.settimeout(5)
            return probe.connect_ex(("127.0.0.1", port)) == 0

    def left_running(self) -> list[str]:
        """Processes that work in the clone."""
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                if (process / "cwd").resolve().is_relative_to(self.clone):
                    found.append((process / "cmdline").read_text().replace("\0", " "))
            except OSError:
                continue  # it has ended, or is somebody else's
        return [command for command in found if command]

    def leave(self) -> None:
        if self.make.poll() is None:
            os.killpg(self.make.pid, signal.SIGTERM)
            try:
                self.make.wait(90)
            except subprocess.TimeoutExpired:
                os.killpg(self.make.pid, signal.SIGKILL)
                self.make.wait()
        shutil.rmtree(self.clone, ignore_errors=True)


def pip_says(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "pip", *arguments],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return done.stdout.strip()


def paste(command: list[str]) -> str:
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def newcomer(tmp_path: Path) -> Iterator[Newcomer]:
    someone = Newcomer(tmp_path)
    yield someone
    someone.leave()


@pytest.mark.bootstrap
def test_what_make_serve_prints_works_when_pasted_and_ctrl_c_ends_it_all(
    newcomer: Newcomer,
) -> None:
    """From a bare clone to embeddings, by curl and by the openai client, over verified TLS."""
    newcomer.until(lambda: "Ask it with curl" in newcomer.printed, INSTALL_S, "the first start")
    newcomer.until(newcomer.ready, SERVE_S, "the local model")
    newcomer.until(lambda: newcomer.listens(newcomer.overflow_port), SERVE_S, "the overflow")

    answer = paste(["bash", "-c", newcomer.block("Ask it with curl:")])
    assert '"embedding"' in answer
    # A newcomer's own Python, which has the client.
    shown = paste(
        [
            sys.executable,
            "-c",
            newcomer.block("Or with the openai client in Python (pip install openai):"),
        ]
    )
    assert shown.startswith("384 ")

    os.killpg(newcomer.make.pid, signal.SIGINT)
    newcomer.make.wait(90)
    assert newcomer.left_running() == []
    assert not newcomer.listens(newcomer.port)
