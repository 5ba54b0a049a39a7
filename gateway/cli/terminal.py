"""Tables as a person reads them on a terminal."""

from __future__ import annotations

import io
import re
import shutil
import time
from collections.abc import Callable, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

_NUMBER = re.compile(r"-|[-+]?[$]?[0-9][0-9.,]*( ?(%|s|ms|USD))?")
_COLOURS = {
    "ready": "green", "warm": "green", "active": "green", "success": "green", "ok": "green",
    "cold": "cyan", "starting": "cyan", "expired": "yellow", "drained": "yellow", "old": "yellow",
    "warning": "yellow", "cancelled": "yellow", "revoked": "dim", "away": "red", "error": "red",
    "fault": "red", "resting": "red",
}  # fmt: skip
"""Words that stand alone in a cell."""


def drawn(heads: Sequence[str], rows: Sequence[Sequence[str]], width: int | None = None) -> str:
    """The lines of a table as wide as the terminal, or ``width``; figures stand to the right.
    Without colours where NO_COLOR is set."""
    columns = width or shutil.get_terminal_size().columns
    console = Console(file=io.StringIO(), force_terminal=True, width=columns)
    console.print(as_table(heads, rows), end="")
    assert isinstance(console.file, io.StringIO)
    lines = console.file.getvalue().splitlines()
    return "".join(line.rstrip() + "\n" for line in lines if line.strip())


def redrawn(render: Callable[[], str], every_s: float) -> None:
    """Draws the text anew, in its place, until Ctrl-C."""
    with Live(console=Console(), auto_refresh=False) as live:
        while True:
            live.update(Text(render()), refresh=True)
            time.sleep(every_s)


def as_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """For rich; whatever looks like its markup is text."""
    found = Table(box=SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for index, head in enumerate(heads):
        figures = bool(rows) and all(_NUMBER.fullmatch(row[index]) for row in rows)
        found.add_column(Text(head), justify="right" if figures else "left", overflow="fold")
    for row in rows:
        found.add_row(*(Text(cell, style=_COLOURS.get(cell, "")) for cell in row))
    return found
