"""Bifrost: one process in Go, with one provider and one key of it, no budgets.

Its package has no program but one that fetches it from its makers' own server, which is not done
here: ``bifrost-http`` must be on the PATH.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from benchmarks.gateway.contenders.base import Running
from benchmarks.gateway.processes import HOST, Child, Missing, free_port
from benchmarks.gateway.target import MODEL, Target
from benchmarks.gateway.upstream import wait_for_answer

READY = 30.0
PROGRAM = "bifrost-http"


class Bifrost:
    name = "bifrost"
    streams = True
    large = True

    def start(self, upstream: Target, folder: Path) -> Running:
        program = shutil.which(PROGRAM)
        if program is None:
            raise Missing(
                f"{PROGRAM} is not on the PATH: its npm package holds no program, only what "
                "fetches one from its makers' server"
            )
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.json").write_text(json.dumps(_config(upstream)))
        port = free_port()
        command = [program, "-app-dir", str(folder), "-host", HOST, "-port", str(port)]
        child = Child([*command, "-log-level", "error"], log=folder / "bifrost.log")
        target = Target(url=f"http://{HOST}:{port}", model=f"openai/{MODEL}")
        wait_for_answer(child, target, what=self.name, deadline=READY)
        return Running(child=child, target=target)


def _config(upstream: Target) -> dict[str, object]:
    key = {"name": "bench", "value": upstream.key, "models": [MODEL], "weight": 1.0}
    return {
        "client": {"drop_excess_requests": False},
        "providers": {"openai": {"keys": [key], "network_config": {"base_url": upstream.url}}},
    }
