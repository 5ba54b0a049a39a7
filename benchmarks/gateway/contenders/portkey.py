"""Portkey's gateway: one process of Node, told by headers where to send a call; no keys."""

from __future__ import annotations

from pathlib import Path

from benchmarks.gateway.contenders.base import Running
from benchmarks.gateway.environments import PORTKEY
from benchmarks.gateway.processes import HOST, Child, free_port
from benchmarks.gateway.target import Target
from benchmarks.gateway.upstream import wait_for_answer

READY = 30.0
LOOPBACK = Path(__file__).with_name("loopback.cjs")


class Portkey:
    name = "portkey"
    streams = True
    large = True

    def start(self, upstream: Target, folder: Path) -> Running:
        PORTKEY.ensure()
        folder.mkdir(parents=True, exist_ok=True)
        port = free_port()
        program = str(PORTKEY.place / "build" / "start-server.js")
        child = Child(
            [
                *("node", "--require", str(LOOPBACK), program),
                *(f"--port={port}", "--headless"),
            ],
            log=folder / "portkey.log",
            env={"NODE_ENV": "production"},
        )
        target = Target(
            url=f"http://{HOST}:{port}",
            headers=(
                ("x-portkey-provider", "openai"),
                ("x-portkey-custom-host", f"{upstream.url}/v1"),
            ),
        )
        wait_for_answer(child, target, what=self.name, deadline=READY)
        return Running(child=child, target=target)
