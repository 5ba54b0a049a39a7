"""The contract's stage for ``kind: cog``: Cog's own server around a model of the tests."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, ClassVar

from adapters.base import Backend
from adapters.cog import Cog, CogSettings
from adapters.errors import FailureClass
from gateway.clock import SystemClock
from tests.adapters.local.backends import alive
from tests.adapters.scenarios import Scenario, Stage
from tests.live import free_port
from tests.waiting import wait_until

MODEL = Path(__file__).with_name("model.py")
PYTHON = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
SLOTS = 160
AT_ONCE = 24
"""More than any test has in flight at a time. Of the slots there are many more, because Cog lets a
few calls run on that were cancelled as they began, each in its slot until it ends."""
# What ``cog build`` would write: without it the server checks no input and streams nothing.
SCHEMA: dict[str, Any] = {
    "openapi": "3.0.2",
    "info": {"title": "Cog", "version": "0.1.0"},
    "components": {
        "schemas": {
            "Input": {
                "type": "object",
                "properties": {
                    "echo": {"type": "string"},
                    "fail": {"type": "string"},
                    "sleep": {"type": "number"},
                    "pieces": {"type": "integer"},
                    "pause": {"type": "number"},
                    "gated": {"type": "boolean"},
                    "model": {"type": "string"},
                },
            }
        }
    },
}


class CogServer:
    """``python -m cog.server.http`` as a process, with a folder of its own."""

    def __init__(
        self, folder: Path, runner: str, *, slots: int, streams: bool, path: str = PYTHON
    ) -> None:
        self.folder = folder
        self.url = f"http://127.0.0.1:{(port := free_port())}"
        shutil.copy(MODEL, folder)
        (folder / ".cog").mkdir()
        route = {"post": {"x-cog-streaming": True} if streams else {}}
        schema = {**SCHEMA, "paths": {"/predictions": route}}
        (folder / ".cog" / "openapi_schema.json").write_text(json.dumps(schema))
        self.process = subprocess.Popen(
            [sys.executable, "-m", "cog.server.http", "--host", "127.0.0.1"],
            cwd=folder,
            env=_environ(port, runner, slots, path),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def wait_until_ready(self, seconds: float = 30.0) -> None:
        wait_until(self._is_ready, "Cog's server is ready", within_s=seconds)

    def wait_until_roomy(self, calls: int) -> None:
        """READY is said before every slot takes calls: waits until so many run at once."""
        wait_until(lambda: self._takes(calls), "Cog's slots take calls", within_s=30.0)

    def _takes(self, calls: int) -> bool:
        with ThreadPoolExecutor(calls) as pool:
            return all(pool.map(self._echoes, range(calls)))

    def _echoes(self, _: int) -> bool:
        body = json.dumps({"input": {"echo": "room", "sleep": 0.2}}).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(self.url + "/predictions", body, headers)
        try:
            with urllib.request.urlopen(request, timeout=10) as response:
                return bool(response.status == 200)
        except urllib.error.HTTPError as error:
            error.close()
            return False

    def _is_ready(self) -> bool:
        assert self.process.poll() is None, "Cog's server has ended"
        return self.status() == "READY"

    def status(self) -> str:
        try:
            with urllib.request.urlopen(self.url + "/health-check", timeout=5) as response:
                return str(json.load(response)["status"])
        except (urllib.error.URLError, ConnectionError):
            return "unreachable"

    def running(self) -> int:
        notes = self.folder.glob("*.running")
        return sum(alive(int(note.name.partition("-")[0])) for note in notes)

    def close(self) -> None:
        self.process.terminate()
        self.process.wait(15)
        with contextlib.suppress(ProcessLookupError):  # a runner that was still in its setup
            os.killpg(self.process.pid, signal.SIGKILL)


def _environ(port: int, runner: str, slots: int, path: str) -> dict[str, str]:
    """Cog starts the program named python on PATH, which must be the one that has Cog."""
    return {
        **os.environ,
        "PATH": path,
        "PORT": str(port),
        "COG_MAX_CONCURRENCY": str(slots),
        "COG_PREDICT_TYPE_STUB": f"{MODEL.name}:{runner}",
    }


@contextlib.contextmanager
def cog_servers() -> Iterator[dict[str, CogServer]]:
    """``plain`` runs many calls at once; ``stream`` one at a time, in pieces."""
    with contextlib.ExitStack() as stack:
        folders = [Path(stack.enter_context(tempfile.TemporaryDirectory())) for _ in range(2)]
        servers = {
            "plain": CogServer(folders[0], "Whole", slots=SLOTS, streams=False),
            "stream": CogServer(folders[1], "Pieces", slots=1, streams=True),
        }
        for server in servers.values():
            stack.callback(server.close)
        for server in servers.values():
            server.wait_until_ready()
        servers["plain"].wait_until_roomy(AT_ONCE)
        yield servers


class CogStage:
    scenarios: ClassVar[dict[str, Scenario]] = {
        "echo": Scenario(body={"echo": "hello"}),
        "openai": Scenario(task="chat", body={"model": "m"}),
        "stream": Scenario(body={"pieces": 3}, stream=True, endpoint="stream"),
        "openai stream": Scenario(
            task="chat", body={"model": "m", "stream": True}, stream=True, endpoint="stream"
        ),
        "slow": Scenario(body={"sleep": 60}),
        "raises": Scenario(body={"fail": "boo"}, fails=FailureClass.FAILED),
        "raises before the stream": Scenario(
            body={"pieces": 0, "fail": "boo"},
            stream=True,
            endpoint="stream",
            fails=FailureClass.FAILED,
        ),
        "raises in a stream": Scenario(
            body={"pieces": 2, "fail": "boo"},
            stream=True,
            endpoint="stream",
            fails=FailureClass.FAILED,
        ),
        "wrong input": Scenario(body={"echo": 7}, fails=FailureClass.INVALID),
        "wrong input of a stream": Scenario(
            body={"pieces": "x"}, stream=True, endpoint="stream", fails=FailureClass.INVALID
        ),
        "no stream of chat": Scenario(
            task="chat",
            body={"model": "m", "stream": True},
            stream=True,
            fails=FailureClass.UNSUPPORTED,
        ),
    }

    def __init__(self, servers: dict[str, CogServer]) -> None:
        self._servers = servers

    def backend(self, endpoint: str = "plain") -> Backend:
        # Cog frees a slot a moment after the answer's last byte; the test before may have used it.
        self._servers[endpoint].wait_until_ready()
        slots = 1 if endpoint == "stream" else SLOTS
        settings = CogSettings(base_url=self._servers[endpoint].url, slots=slots, openai=True)
        return Cog("stage", settings, SystemClock())

    def running(self, endpoint: str = "plain") -> int:
        return self._servers[endpoint].running()


@contextlib.contextmanager
def cog_stage() -> Iterator[Stage]:
    with cog_servers() as servers:
        yield CogStage(servers)
