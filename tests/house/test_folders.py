"""Folders hold few files, say what lives there, and do not stand on each other."""

from __future__ import annotations

import ast
import re
from collections import Counter
from pathlib import Path

from scripts.house.figures import FULLEST
from tests.house.tree import CODE, ROOT, TREES, measured, name, needs_git

pytestmark = needs_git

NAMED_BY_ITS_FOLDER = ("gateway", "adapters", "local_runtime", "spillgate_contract", "benchmarks",
                       "examples", "scripts")  # fmt: skip
"""Where a folder's docstring names each of its files; in tests/ the files' own names do."""


def folders() -> list[Path]:
    """Those with code in them, without distributions that stand by themselves."""
    found = sorted({path.parent for path in CODE})
    return [one for one in found if not has_own_project(one)]


def has_own_project(folder: Path) -> bool:
    between = [folder, *folder.parents]
    return any((one / "pyproject.toml").is_file() for one in between[: between.index(ROOT)])


def docstring_of(folder: Path) -> str:
    tree = TREES.get(folder / "__init__.py")
    return (ast.get_docstring(tree) or "") if tree else ""


def test_no_folder_has_more_than_25_modules() -> None:
    counted = Counter(name(path.parent) for path in CODE)
    assert {folder: count for folder, count in counted.items() if count > FULLEST} == {}


def test_every_folder_says_what_it_is() -> None:
    assert [name(folder) for folder in folders() if not docstring_of(folder)] == []


def test_a_folder_names_each_of_its_files_and_folders() -> None:
    """So that who sees the docstrings of the folders alone can name the file of a question."""
    unnamed = []
    for folder in folders():
        if folder.relative_to(ROOT).parts[0] not in NAMED_BY_ITS_FOLDER:
            continue
        named = set(re.findall(r"``([a-z_0-9]+)(?:\.py|/)?``", docstring_of(folder)))
        below = {path.stem for path in CODE if path.parent == folder}
        below |= {one.name for one in folders() if one.parent == folder}
        below = {one for one in below if not one.startswith("__")}
        unnamed += [f"{name(folder)}: {one}" for one in sorted(below - named)]
    assert unnamed == []


def test_no_two_folders_of_a_package_need_each_other() -> None:
    house = measured()
    assert house.whole.room_circles == []
    assert house.whole.module_circles == []


def test_the_adapters_stand_in_few_storeys() -> None:
    assert measured().packages["adapters"].storeys <= 5
