"""Documents, docstrings and comments name no file, no module and no class that is not there."""

from __future__ import annotations

import ast
import functools
from pathlib import Path

import pytest

from tests.house.mentions import Names, in_code, in_document
from tests.house.tree import CODE, FILES, TREES, name, needs_git

pytestmark = needs_git

OF_OTHERS = {
    "handler.py", "modal_app.py", "predict.py", "cog.yaml", "requirements.txt",  # packaging makes
    "labels.json", "folder/file.py", "x.py", "shout.py",  # a user's
    ".bench/", ".cog/openapi_schema.json", "model.safetensors.index.json",
    "issued.json", "gateway.sock",  # made elsewhere
    "RateLimit",  # a header
}  # fmt: skip
"""What is named and lies in no checkout of this project."""
EXAMPLES_OF_NONE = {Path(__file__), Path(__file__).with_name("mentions.py")}
DOCUMENTS = [path for path in FILES if path.suffix == ".md"]


@pytest.fixture(scope="module")
def names() -> Names:
    return Names(map(name, FILES), {name(path): tree for path, tree in TREES.items()})


@functools.cache
def mentions(path: Path) -> list[tuple[int, str]]:
    """Line, counted from 1, and mention."""
    return list((in_code if path in TREES else in_document)(path.read_text()))


def lacking(names: Names, files: list[Path]) -> list[str]:
    return [
        f"{name(path)}:{line} {mention}"
        for path in files
        for line, mention in mentions(path)
        if mention not in OF_OTHERS and names.lack(mention)
    ]


def test_documents_name_what_is_there(names: Names) -> None:
    assert lacking(names, DOCUMENTS) == []


def test_docstrings_and_comments_name_what_is_there(names: Names) -> None:
    assert lacking(names, [path for path in CODE if path not in EXAMPLES_OF_NONE]) == []


def test_what_is_excused_is_still_named(names: Names) -> None:
    said = {mention for path in [*DOCUMENTS, *CODE] for _, mention in mentions(path)}
    assert OF_OTHERS - said == set()


# --- how they are found -------------------------------------------------------------------------

TOWN = Names(
    [
        "town/hall.py",
        "town/mill/__init__.py",
        "town/mill/wheel.py",
        "docs/town.md",
        "town/test_hall.py",
    ],
    {
        "town/hall.py": ast.parse("class Key: ...\nHEADER = 'Town-Hall'"),
        "town/mill/__init__.py": ast.parse(""),
        "town/mill/wheel.py": ast.parse("def turn(speed): ..."),
        "town/test_hall.py": ast.parse("def test_it_stands(): ..."),
    },
)


@pytest.mark.parametrize(
    "mention",
    ["town/hall.py", "hall.py", "mill/wheel.py", "town/mill/", "mill/", "town.hall", "town.mill",
     "town.hall:Key", "town.hall.Key", "town.hall.Key.lock", "Key", "Key.lock", "Hall", "KeyError",
     "docs/town.md", "town/test_hall.py::test_it_stands", "test_hall.py::test_it_stands",
     "other.module", "--option", "a word", "/v1/models/"],
)  # fmt: skip
def test_what_is_there_or_is_no_reference_is_not_lacking(mention: str) -> None:
    assert not TOWN.lack(mention)


@pytest.mark.parametrize(
    "mention",
    ["town/gate.py", "wheel.md", "ill/wheel.py", "gate/", "town.gate", "town.hall:Lock",
     "town.mill.stones", "Lock", "Lock.turn", "town/test_hall.py::test_it_falls",
     "mill/test_hall.py::test_it_stands"],
)  # fmt: skip
def test_what_is_not_there_is(mention: str) -> None:
    assert TOWN.lack(mention)


def test_a_document_is_read_without_its_blocks() -> None:
    text = "See `a.py`.\n```bash\ncat `b.py`\n```\nand ``c.d`` too\n"
    assert list(in_document(text)) == [(1, "a.py"), (5, "c.d")]


def test_code_is_read_by_its_docstrings_and_comments_alone() -> None:
    text = '"""Of ``a.py`` and\n``B``."""\nx = "`c.py`"  # as in d/e.py, `f`\n'
    assert list(in_code(text)) == [(1, "a.py"), (2, "B"), (3, "f"), (3, "d/e.py")]
