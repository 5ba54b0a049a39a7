"""A contender while a benchmark runs, and what is known of it so far."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

import msgspec

F = TypeVar("F", bound=msgspec.Struct)
R = TypeVar("R")

SETTLE = 0.3
"""Seconds after a load in which work put off until later, such as a ledger's, still counts."""
Say = Callable[[str], None]


class Entry(Generic[F, R]):
    """``running`` is None until it has started, or where it does not start."""

    def __init__(self, figures: F) -> None:
        self.figures = figures
        self.running: R | None = None

    def note(self, **changes: object) -> None:
        self.figures = msgspec.structs.replace(self.figures, **changes)
