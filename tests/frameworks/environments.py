"""Where the frameworks are installed: an environment of Python or of Node for each, below .bench,
made when it is first needed and kept."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from tests.live import ROOT

BENCH = ROOT / ".bench"
PROGRAMS = Path(__file__).parent / "programs"
_LIMIT_S = 1200.0


class Framework(msgspec.Struct, frozen=True):
    """One, the packages that it is made of, and the program that calls by it."""

    name: str
    packages: tuple[str, ...]
    program: str
    answered: int = 4
    """Calls of its program that are answered: where the tool's own words are the last, one less."""

    @property
    def folder(self) -> Path:
        return BENCH / f"framework-{self.name}"

    @property
    def is_on_node(self) -> bool:
        return self.program.endswith(".mjs")

    def command(self) -> list[str]:
        """Installs it where it is not, and says what runs its program. Raises CalledProcessError
        with what the installer said."""
        marker = self.folder / "installed"
        if not marker.exists() or marker.read_text().split() != list(self.packages):
            self._install()
            marker.write_text("\n".join(self.packages))
        if not self.is_on_node:
            return [str(self._python), str(PROGRAMS / self.program)]
        shutil.copy(PROGRAMS / self.program, self.folder)  # Node looks for packages beside it
        return ["node", str(self.folder / self.program)]

    @property
    def _python(self) -> Path:
        return self.folder / "bin" / "python"

    def _install(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        if self.is_on_node:
            quietly = ("--no-audit", "--no-fund", "--prefix", str(self.folder))
            _run(["npm", "install", *quietly, *self.packages])
        else:
            _run([sys.executable, "-m", "venv", str(self.folder)])
            _run([str(self._python), "-m", "pip", "install", "--quiet", *self.packages])


FRAMEWORKS = (
    Framework("langchain", ("langchain-openai==1.7.4",), "langchain_calls.py"),
    Framework("llama-index", ("llama-index-llms-openai-like==0.8.1",), "llama_index_calls.py", 3),
    Framework(
        "ai-sdk",
        ("ai@7.0.173", "@ai-sdk/openai-compatible@3.0.92", "zod@4.6.7"),
        "ai_sdk_calls.mjs",
    ),
)
"""Chosen by hand: those of 2026-11."""


def _run(command: Sequence[str]) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True, timeout=_LIMIT_S)
