"""Names that say something, one name for one thing, docstrings, and words that stay out."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from scripts.house.names import used_twice
from scripts.house.source import length_of
from tests.house.tree import (
    CODE,
    FILES,
    SOURCE,
    TREES,
    measured,
    modules,
    name,
    needs_git,
    text_of,
)

pytestmark = needs_git

VAGUE = re.compile(r"(?i)(^|_)(utils?|helpers?|managers?|common|misc)(_|$)")
VAGUE_CLASS = re.compile(r"(Util|Helper|Manager)s?$")
LEFT_OVER = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b|\bbreakpoint\(|\bpdb\.")

# The project speaks of itself alone, and names no machine and no registry that it was made with.
FOREIGN = {
    "a path of the machine it was made on": re.compile(r"(?<!\w)/(work/|root/|home/[a-z])"),
    "a number of some tracker": re.compile(r"(?i)\b(issues?|pull request|PR) #\d"),
    "how it was made": re.compile(
        r"(?i)\b(this|my|our|another|coding|work) session\b|\blanguage model wrote\b"
        r"|\b(AI|LLM)[- ]generated\b"
    ),
    "a package registry": re.compile(
        r"(?i)\bpypi[.]org|pythonhosted[.]org|registry[.]npmjs|deb[.]debian[.]org"
    ),
}
OTHERS = [path for path in FILES if path != Path(__file__)]


def test_no_module_and_no_class_has_a_name_that_says_nothing() -> None:
    modules = [name(path) for path in CODE if VAGUE.search(path.stem)]
    classes = [
        f"{name(path)}: {node.name}"
        for path in CODE
        for node in ast.walk(TREES[path])
        if isinstance(node, ast.ClassDef) and VAGUE_CLASS.search(node.name)
    ]
    assert modules + classes == []


def test_no_public_class_of_the_packages_has_the_name_of_another() -> None:
    """But ``Clock`` and the like, which scripts/house/names.py declares."""
    assert used_twice(modules()) == {}


def test_every_module_says_what_it_is_for() -> None:
    silent = [name(path) for path in CODE if not ast.get_docstring(TREES[path])]
    assert silent == []


def test_nine_of_ten_public_names_have_a_docstring_or_a_ports() -> None:
    """``python -m scripts.house --list`` names the others."""
    assert measured().whole.explained >= 0.9


def test_a_public_function_that_is_not_trivial_has_a_docstring() -> None:
    """Methods are left to the port that they implement; see ``adapters.base``."""
    silent = [
        f"{name(path)}:{node.lineno} {node.name}"
        for path in SOURCE
        for node in TREES[path].body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and not node.name.startswith("_")
        and node.name != "main"  # its module says what the command does
        and length_of(node) > 20
        and not ast.get_docstring(node)
    ]
    assert silent == []


def test_nothing_is_left_for_later() -> None:
    found = [name(path) for path in OTHERS if LEFT_OVER.search(text_of(path))]
    assert found == []


@pytest.mark.parametrize("what", FOREIGN)
def test_the_project_speaks_of_itself_alone(what: str) -> None:
    found = [
        f"{name(path)}: {match[0]!r}"
        for path in OTHERS
        if (match := FOREIGN[what].search(text_of(path))) is not None
    ]
    assert found == []
