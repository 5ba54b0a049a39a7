"""No contender at all: the client asks the upstream. The ceiling of the harness itself."""

from __future__ import annotations

from pathlib import Path

from benchmarks.gateway.contenders.base import Running
from benchmarks.gateway.target import Target


class Direct:
    name = "direct"
    streams = True
    large = False

    def start(self, upstream: Target, folder: Path) -> Running:
        return Running(child=None, target=upstream)
