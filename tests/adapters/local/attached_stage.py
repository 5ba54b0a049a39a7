"""The contract's stage for ``kind: local`` with ``sockets``: workers of a runtime that runs by
itself, over the same program."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

from adapters.base import Backend
from adapters.local.backend import Local
from adapters.local.settings import LocalSettings
from gateway.clock import SystemClock
from tests.adapters.local.stage import LocalStage
from tests.adapters.scenarios import Stage
from tests.local_runtime.server.live_runtime import LiveRuntime


class AttachedStage(LocalStage):
    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._sockets = str(folder / "sockets")
        options = ("--sockets", self._sockets, "--grace", "0.2", "--max-message", "100000")
        self.runtime = LiveRuntime(f"{self._program}:app", *options)

    def backend(self, endpoint: str = "plain") -> Backend:
        handler = "/stream" if endpoint == "stream" else None
        settings = LocalSettings(sockets=self._sockets, handler=handler)
        return Local("stage", settings, SystemClock())


@contextlib.contextmanager
def attached_stage() -> Iterator[Stage]:
    with tempfile.TemporaryDirectory() as folder:
        stage = AttachedStage(Path(folder))
        with stage.runtime:
            yield stage
