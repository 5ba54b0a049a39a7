"""Spillgate as a user runs it: keys, limits of every kind in every scope, routing and the ledger
all on. TLS is off, as it is for the others, but in ``spillgate-tls``; none of them writes an access
log."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from benchmarks.gateway.contenders.base import Running
from benchmarks.gateway.processes import HOST, ROOT, Child, StartFailed, free_port
from benchmarks.gateway.target import MODEL, Target
from benchmarks.gateway.upstream import status, wait_for_answer

READY = 60.0
WORKERS = "local_runtime."
"""In the command line of the supervisor and of the workers that run the model."""
PROGRAM = Path(sys.executable).with_name("spillgate")

CONFIG = """\
version: 1
server: {{listen: "{host}:{port}", tls: "{tls}", data: {folder}/data, access_log: false}}
store: {{ledger: "sqlite:///{folder}/data/ledger.db", shared: "memory://"}}
backends:
  model: {backend}
models:
  {model}: {{task: chat, backends: [model], slo: 30s}}
prices:
  tokens: {{per_million_input: 0.50, per_million_output: 1.50, as_of: 2026-01-01, source: bench}}
  own: {{per_hour: 2.69, as_of: 2026-01-01, source: bench}}
routes:
  - {{name: large, when: {{body: "> 1000000"}}, use: [model]}}
  - {{name: gold, when: {{priority: high}}, use: [model], order: fastest}}
  - {{name: default, use: [model], order: cheapest}}
limits: {limits}
plans:
  bench:
    requests: [1000000000/hour]
    concurrent: 100000
    gpu_seconds: [1000000000/day]
    spend: [1000000 USD/month]
    per_key: {limits}
    shared: {limits}
"""
LIMITS = (
    "{requests: [1000000000/hour], concurrent: 100000, gpu_seconds: [1000000000/day], "
    "spend: [1000000 USD/month]}"
)
PASSED = "{{kind: openai, base_url: '{upstream}/v1', price: tokens}}"
LOCAL = "{{kind: local, app: 'benchmarks/apps/trivial.py:app', workers: 1, price: own}}"


class Spillgate:
    """``local``: a local worker answers instead of the upstream; ``processes`` serve."""

    def __init__(
        self, *, name: str, local: bool = False, tls: bool = False, processes: int = 1
    ) -> None:
        self.name = name
        self._processes = processes
        self._local = local
        self._tls = tls

    @property
    def streams(self) -> bool:
        return not (self._local or self._tls) and self._processes == 1

    def start(self, upstream: Target, folder: Path) -> Running:
        running = self.launch(upstream, folder)
        assert running.child is not None
        wait_for_answer(running.child, running.target, what=self.name, deadline=READY)
        return running

    def launch(self, upstream: Target, folder: Path) -> Running:
        """Starts the process and waits for nothing."""
        (folder / "data").mkdir(parents=True, exist_ok=True)
        target, config = self._configure(upstream, folder)
        key = make_key(config)
        command = [str(PROGRAM), "serve", "--config", str(config)]
        if self._processes > 1:
            command += ["--workers", str(self._processes)]
        child = Child(command, log=folder / "gateway.log")
        return Running(child=child, target=Target(url=target, key=key), apart=WORKERS)

    def _configure(self, upstream: Target, folder: Path) -> tuple[str, Path]:
        port = free_port()
        config = folder / "spillgate.yaml"
        config.write_text(
            CONFIG.format(
                host=HOST,
                port=port,
                tls="auto" if self._tls else "off",
                folder=folder,
                backend=(LOCAL if self._local else PASSED).format(upstream=upstream.url),
                model=MODEL,
                limits=LIMITS,
            )
        )
        return f"{'https' if self._tls else 'http'}://{HOST}:{port}", config


def make_key(config: Path) -> str:
    """A key on the plan. Raises StartFailed with what the command said."""
    command = [str(PROGRAM), "keys", "create", "--config", str(config)]
    done = subprocess.run(
        [*command, "--user", "bench", "--plan", "bench", "--json"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=30,
    )
    try:
        return str(json.loads(done.stdout)["key"])
    except (ValueError, KeyError):
        said = (done.stderr or done.stdout).strip()[-600:]
        raise StartFailed(f"spillgate keys create gave no key:\n    | {said}") from None


def is_ready(target: Target) -> bool:
    return status(target, "/readyz") == 200
