"""sglang-router: a router in Rust, for one worker, round robin, all else as it comes."""

from __future__ import annotations

from pathlib import Path

from benchmarks.gateway.contenders.base import Running
from benchmarks.gateway.environments import SGLANG
from benchmarks.gateway.processes import HOST, Child, free_port
from benchmarks.gateway.target import Target
from benchmarks.gateway.upstream import wait_for_answer

READY = 30.0


class SglangRouter:
    name = "sglang-router"
    streams = True

    def start(self, upstream: Target, folder: Path) -> Running:
        SGLANG.ensure()
        folder.mkdir(parents=True, exist_ok=True)
        port = free_port()
        child = Child(_command(upstream, port), log=folder / "sglang.log")
        target = Target(url=f"http://{HOST}:{port}")
        wait_for_answer(child, target, what=self.name, deadline=READY)
        return Running(child=child, target=target)


def _command(upstream: Target, port: int) -> list[str]:
    return [
        *(str(SGLANG.python), "-m", "sglang_router.launch_router"),
        *("--worker-urls", upstream.url, "--policy", "round_robin"),
        *("--host", HOST, "--port", str(port)),
        *("--prometheus-host", HOST, "--prometheus-port", str(free_port())),
        *("--log-level", "warn", "--worker-startup-check-interval", "1"),
    ]
