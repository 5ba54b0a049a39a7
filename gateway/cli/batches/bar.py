"""How far a batch has come: a bar on a terminal, else a line now and then. On standard error, so
that output stays clean."""

from __future__ import annotations

import sys
from typing import Any

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from gateway.cli.on_stderr import BarOnStderr
from gateway.money.text import short_usd

_EVERY = 0.05
"""Of the lines: how often a file or a pipe is told."""


class BatchBar(BarOnStderr):
    """``is_terminal`` left out: as standard error is."""

    def __init__(self, *, is_terminal: bool | None = None) -> None:
        super().__init__(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[told]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            is_terminal=is_terminal,
        )
        self._task = self._bar.add_task("batch", total=None, told="")
        self._told_at = -1.0
        self._said = ""

    def show(self, batch: dict[str, Any]) -> None:
        """As the gateway has told it."""
        counts = batch["request_counts"]
        ended, total = counts["completed"] + counts["failed"], counts["total"]
        told = said(batch)
        self._bar.update(
            self._task,
            description=batch["status"],
            completed=ended,
            total=total or None,
            told=told,
        )
        share = ended / total if total else 0.0
        if not self._is_terminal and (
            batch["status"] != self._said or share >= self._told_at + _EVERY
        ):
            self._told_at, self._said = share, batch["status"]
            print(f"{batch['status']}: {ended} of {total}{told}", file=sys.stderr)

    def note(self, text: str) -> None:
        """Something beside it."""
        if self._is_terminal:
            self._bar.console.print(text, highlight=False, markup=False)
        else:
            print(text, file=sys.stderr)


def said(batch: dict[str, Any]) -> str:
    """What has failed, what it has cost, and what it waits for."""
    failed = batch["request_counts"]["failed"]
    parts = [f"{failed} failed"] if failed else []
    parts.append(f"{short_usd(float(batch['cost_usd']))} USD")
    if batch["waits_for"]:
        parts.append(f"waits: {batch['waits_for'][:60]}")
    return ", " + ", ".join(parts)
