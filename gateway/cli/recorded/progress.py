"""How far a long command has come: a bar on a terminal, else a line when a stage begins."""

from __future__ import annotations

import sys

from rich.progress import BarColumn, TaskID, TextColumn, TimeElapsedColumn

from gateway.cli.on_stderr import BarOnStderr


class Stages(BarOnStderr):
    """Told of stages by name, each from 0 to 1. On standard error, so that output stays clean."""

    def __init__(self, *, is_terminal: bool | None = None) -> None:
        """``is_terminal`` left out: as standard error is."""
        super().__init__(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %"),
            TimeElapsedColumn(),
            is_terminal=is_terminal,
        )
        self._stages: dict[str, TaskID] = {}

    def advance(self, stage: str, done: float) -> None:
        """``stage`` has come so far, 0 to 1."""
        known = self._stages.get(stage)
        if known is None:
            known = self._stages[stage] = self._bar.add_task(stage, total=1.0)
            if not self._is_terminal:
                print(f"{stage} ...", file=sys.stderr)
        self._bar.update(known, completed=done)
