"""Routers in Rust: sglang-router, smg and vllm-router, for one worker, round robin, all else as it
comes. They keep no keys, limits or accounts; the best of a run is what a target is stated against.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.gateway.contenders.base import Running
from benchmarks.gateway.environments import SGLANG, SMG, VLLM_ROUTER, Environment
from benchmarks.gateway.processes import HOST, Child, free_port
from benchmarks.gateway.target import Target
from benchmarks.gateway.upstream import wait_for_answer

READY = 30.0


class Router:
    """``program`` is started with the interpreter's folder before its first word."""

    streams = True
    large = True

    def __init__(
        self, name: str, environment: Environment, program: Sequence[str], quiet: str
    ) -> None:
        self.name = name
        self._environment = environment
        self._program = program
        self._quiet = quiet

    def start(self, upstream: Target, folder: Path) -> Running:
        self._environment.ensure()
        folder.mkdir(parents=True, exist_ok=True)
        port = free_port()
        child = Child(self._command(upstream, port), log=folder / "router.log")
        target = Target(url=f"http://{HOST}:{port}")
        wait_for_answer(child, target, what=self.name, deadline=READY)
        return Running(child=child, target=target)

    def _command(self, upstream: Target, port: int) -> list[str]:
        first, *rest = self._program
        return [
            *(str(self._environment.python.with_name(first)), *rest),
            *("--worker-urls", upstream.url, "--policy", "round_robin"),
            *("--host", HOST, "--port", str(port)),
            *("--prometheus-host", HOST, "--prometheus-port", str(free_port())),
            *("--log-level", self._quiet, "--worker-startup-check-interval", "1"),
        ]


ROUTERS = (
    Router("sglang-router", SGLANG, ("python", "-m", "sglang_router.launch_router"), "warn"),
    Router("smg", SMG, ("smg", "launch"), "warn"),
    Router("vllm-router", VLLM_ROUTER, ("vllm-router",), "warning"),
)
