"""docs/adapters/pitfalls.md names tests that there are, and has something to say of every kind."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from adapters import KINDS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "adapters" / "pitfalls.md").read_text()
ROWS = re.findall(r"^\| (?P<what>[^|]+) \| (?P<kind>[^|]+) \| `(?P<test>[^`]+)` \|$", PAGE, re.M)


@cache
def names_in(path: Path) -> set[str]:
    tree = ast.parse(path.read_text())
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    return {node.name for node in tree.body if isinstance(node, functions)}


def place_of(test: str) -> tuple[Path, str]:
    path, _, name = test.partition("::")
    return ROOT / (path if path.startswith("tests/") else f"tests/adapters/{path}"), name


@pytest.mark.parametrize("test", [test for _, _, test in ROWS])
def test_a_test_that_the_page_names_is_there(test: str) -> None:
    path, name = place_of(test)
    assert path.is_file()
    assert name in names_in(path)


def test_every_line_of_the_table_is_read_and_none_stands_twice() -> None:
    lines = [line for line in PAGE.splitlines() if line.startswith("| ")]
    assert len(ROWS) == len(lines) - 1
    assert len({what for what, _, _ in ROWS}) == len(ROWS) == len({test for _, _, test in ROWS})


def test_the_page_speaks_of_every_kind_that_there_is_and_of_no_other() -> None:
    """All but local, which is no platform: what goes wrong there stands in local/test_deaths.py."""
    assert {kind for _, kind, _ in ROWS} == {*KINDS, "every kind"} - {"local"}
