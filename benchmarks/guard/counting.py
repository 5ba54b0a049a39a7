"""Counts the bytecodes that run, by the file whose they are."""

from __future__ import annotations

import contextlib
import sys
from collections import Counter
from collections.abc import Iterator
from types import FrameType
from typing import Any

PACKAGES = ("gateway", "adapters", "local_runtime", "spillgate_contract")


class Counting:
    """Of the thread that calls ``one``. Only what belongs to the packages counts: the interpreter
    and the libraries change by themselves."""

    def __init__(self) -> None:
        self.calls: list[Counter[str]] = []
        """Bytecodes of each call, by file."""

    @contextlib.contextmanager
    def one(self) -> Iterator[None]:
        """Counts one call."""
        self.calls.append(Counter())
        sys.settrace(self._entered)
        try:
            yield
        finally:
            sys.settrace(None)

    def _entered(self, frame: FrameType, event: str, arg: Any) -> Any:
        if not _belongs(frame.f_code.co_filename):
            return None
        frame.f_trace_opcodes = True
        frame.f_trace_lines = False
        return self._ran

    def _ran(self, frame: FrameType, event: str, arg: Any) -> Any:
        if event == "opcode":
            self.calls[-1][_file(frame.f_code.co_filename)] += 1
        return self._ran


def _belongs(path: str) -> bool:
    return _file(path).partition("/")[0] in PACKAGES


def _file(path: str) -> str:
    for package in PACKAGES:
        _, found, rest = path.rpartition(f"/{package}/")
        if found:
            return f"{package}/{rest}"
    return path
