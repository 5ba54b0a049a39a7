"""The tracked files of this checkout, listed and parsed once."""

from __future__ import annotations

import ast
import functools
import gc
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.house.figures import House, measure
from scripts.house.source import Function, Module, read_house

ROOT = Path(__file__).parents[2]
PACKAGES = ("gateway", "adapters", "local_runtime")


def tracked() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, timeout=30
    )
    names = listed.stdout.splitlines()
    return [path for name in names if (path := ROOT / name).is_file()]


FILES = tracked()
CODE = [path for path in FILES if path.suffix == ".py"]
SOURCE = [path for path in CODE if path.relative_to(ROOT).parts[0] in PACKAGES]
TREES = {path: ast.parse(path.read_text()) for path in CODE}
# They stay as long as the tests do: no collection has to look at some million nodes again.
gc.freeze()

needs_git = pytest.mark.skipif(not FILES, reason="no git checkout")


@functools.cache
def modules() -> list[Module]:
    """Those of the packages."""
    return read_house(ROOT)


@functools.cache
def measured() -> House:
    """The figures of the packages."""
    return measure(modules())


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def functions(path: Path) -> Iterator[Function]:
    for node in ast.walk(TREES[path]):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def imported(node: ast.AST) -> list[str]:
    """The modules that an import statement names."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        return [node.module or ""]
    return []


def text_of(path: Path) -> str:
    """Its text; nothing for what is no text."""
    try:
        return path.read_text()
    except UnicodeDecodeError:
        return ""
