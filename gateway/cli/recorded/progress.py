"""How far a long command has come: a bar on a terminal, else a line when a stage begins."""

from __future__ import annotations

import sys
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn


class Stages:
    """Told of stages by name, each from 0 to 1. On standard error, so that output stays clean."""

    def __init__(self, *, is_terminal: bool | None = None) -> None:
        """``is_terminal`` left out: as standard error is."""
        is_terminal = sys.stderr.isatty() if is_terminal is None else is_terminal
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %"),
            TimeElapsedColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        self._is_terminal = is_terminal
        self._stages: dict[str, TaskID] = {}

    def __enter__(self) -> Stages:
        if self._is_terminal:
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._is_terminal:
            self._bar.stop()

    def advance(self, stage: str, done: float) -> None:
        """``stage`` has come so far, 0 to 1."""
        known = self._stages.get(stage)
        if known is None:
            known = self._stages[stage] = self._bar.add_task(stage, total=1.0)
            if not self._is_terminal:
                print(f"{stage} ...", file=sys.stderr)
        self._bar.update(known, completed=done)
