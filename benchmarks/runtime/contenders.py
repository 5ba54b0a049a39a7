"""The contenders: each serves the same model with its own means of batching."""

from __future__ import annotations

import json
import sys
import tempfile
import urllib.request
from pathlib import Path

import msgspec

from benchmarks.gateway.accounting import family
from benchmarks.gateway.environments import BENTOML, LITSERVE, MOSEC, RAY, Environment
from benchmarks.gateway.processes import HOST, ROOT, Child, free_port
from benchmarks.runtime.apps.payload import sample

READY = 120.0
"""Seconds that the first answer may take."""
APPS = "benchmarks/runtime/apps"
MODULES = "benchmarks.runtime.apps"


class Running(msgspec.Struct, frozen=True, kw_only=True):
    """A contender that answers."""

    child: Child
    url: str
    body: bytes

    def pids(self) -> frozenset[int]:
        return family(self.child.pid).own


class Contender(msgspec.Struct, frozen=True, kw_only=True):
    """``command`` holds ``{port}`` and ``{folder}``; with ``rows`` a body is a list of rows."""

    name: str
    command: tuple[str, ...]
    environment: Environment | None = None
    rows: bool = False
    variables: dict[str, str] = {}

    def start(self, folder: Path) -> Running:
        """Returns once a call is answered with a result. Raises StartFailed."""
        folder.mkdir(parents=True, exist_ok=True)
        if self.environment is not None:
            self.environment.ensure()
        port = free_port()
        given = {"port": str(port), "folder": str(folder)}
        child = Child(
            [str(self._program), *(part.format(**given) for part in self.command)],
            log=folder / "log",
            env={"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **self._variables(given)},
        )
        running = Running(child=child, url=f"http://{HOST}:{port}/predict", body=self._body())
        child.wait_until(lambda: answers(running), what=self.name, deadline=READY, every=0.25)
        return running

    @property
    def _program(self) -> Path:
        return Path(sys.executable) if self.environment is None else self.environment.python

    def _variables(self, given: dict[str, str]) -> dict[str, str]:
        return {name: value.format(**given) for name, value in self.variables.items()}

    def _body(self) -> bytes:
        asked = sample()
        return json.dumps({"x": [asked["x"]]} if self.rows else asked).encode()


def answers(running: Running) -> bool:
    """Whether it answers the request with 16 numbers, however they are wrapped."""
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(running.url, running.body, headers)
    try:
        with urllib.request.urlopen(request, timeout=5) as response:
            return bool(response.read().count(b",") == 15)
    except (OSError, ValueError):
        return False


def short_folder() -> tempfile.TemporaryDirectory[str]:
    """Ray keeps sockets there, whose paths hold 107 bytes."""
    return tempfile.TemporaryDirectory(prefix="bench-", dir="/tmp")


ALL = (
    Contender(
        name="spillgate",
        command=("-m", "local_runtime", f"{APPS}/ours.py", "--port", "{port}", "--threads", "1"),
    ),
    Contender(
        name="litserve",
        command=("-m", f"{MODULES}.litserve_app", "{port}"),
        environment=LITSERVE,
    ),
    Contender(
        name="bentoml",
        command=(
            *("-m", "bentoml", "serve", f"{MODULES}.bento_app:Mlp"),
            *("--host", HOST, "--port", "{port}"),
        ),
        environment=BENTOML,
        rows=True,
        variables={"BENTOML_DO_NOT_TRACK": "True", "BENTOML_HOME": "{folder}"},
    ),
    Contender(
        name="ray-serve",
        command=("-m", f"{MODULES}.ray_app", "{port}", "{folder}"),
        environment=RAY,
        variables={
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_SERVE_ENABLE_HA_PROXY": "1",
            "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
        },
    ),
    Contender(
        name="mosec",
        command=(
            *("-m", f"{MODULES}.mosec_app", "--address", HOST, "--port", "{port}"),
            *("--log-level", "warning"),
        ),
        environment=MOSEC,
    ),
)
NAMES = tuple(contender.name for contender in ALL)
