"""The contract's stage for ``kind: local``: worker processes over a program of the tests."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from adapters.base import Backend
from adapters.errors import FailureClass
from adapters.local.backend import Local
from adapters.local.settings import LocalSettings
from gateway.clock import SystemClock
from tests.adapters.local.backends import PROGRAMS, alive
from tests.adapters.scenarios import Scenario, Stage


class LocalStage:
    scenarios: ClassVar[dict[str, Scenario]] = {
        "echo": Scenario(body={"echo": "hello"}),
        "stream": Scenario(body={"stream": 3}, stream=True, endpoint="stream"),
        "slow": Scenario(body={"sleep": 60}),
        "raises": Scenario(body={"fail": "boo"}, fails=FailureClass.FAILED),
        "refuses": Scenario(body={"refuse": "no"}, fails=FailureClass.INVALID),
        "worker dies": Scenario(body={"exit": 3}, fails=FailureClass.WORKER_DIED),
        "raises in a stream": Scenario(
            body={"stream": 2, "fail": "boo"},
            stream=True,
            endpoint="stream",
            fails=FailureClass.FAILED,
        ),
        "worker dies in a stream": Scenario(
            body={"stream": 2, "exit": 3},
            stream=True,
            endpoint="stream",
            fails=FailureClass.TRUNCATED,
        ),
        "no such route": Scenario(body={}, task="embeddings", fails=FailureClass.UNSUPPORTED),
        "too large": Scenario(body={"echo": "x" * 200_000}, fails=FailureClass.TOO_LARGE),
    }

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._program = Path(shutil.copy(PROGRAMS / "stage.py", folder))

    def backend(self, endpoint: str = "plain") -> Backend:
        settings = LocalSettings(
            app=str(self._program),
            handler="/stream" if endpoint == "stream" else None,
            grace=0.2,
            start_timeout=30.0,
            max_message=100_000,
        )
        return Local("stage", settings, SystemClock())

    def running(self, endpoint: str = "plain") -> int:
        """Of workers that live: one that was killed could not take its notes away."""
        return sum(
            alive(int(note.name.partition("-")[0])) for note in self._folder.glob("*.running")
        )


@contextlib.contextmanager
def local_stage() -> Iterator[Stage]:
    with tempfile.TemporaryDirectory() as folder:
        yield LocalStage(Path(folder))
