"""Which statement draws an arrow, and where to."""

from __future__ import annotations

import pytest

from scripts.house.imports import arrows_of
from scripts.house.source import Module, module_of

TOWN = [
    module_of("town", "", is_folder=True),
    module_of("town.hall", ""),
    module_of("town.mill", "", is_folder=True),
    module_of("town.mill.wheel", ""),
]


def targets(importer: Module) -> set[str]:
    return {target for _, target in arrows_of([*TOWN, importer])}


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("import town.hall", "town.hall"),
        ("import town.hall as h", "town.hall"),
        ("from town import hall", "town.hall"),
        ("from town import mayor", "town"),
        ("from town.mill.wheel import turn", "town.mill.wheel"),
        ("from .mill import wheel", "town.mill.wheel"),
        ("from . import hall", "town.hall"),
        ("def f():\n    import town.hall", "town.hall"),
        ("if TYPE_CHECKING:\n    from town.hall import Key", "town.hall"),
    ],
)
def test_an_import_is_an_arrow_to_the_module_that_it_names(text: str, target: str) -> None:
    assert targets(module_of("town.gate", text)) == {target}


def test_dots_are_counted_from_the_folder_that_a_file_lies_in() -> None:
    text = "from ..hall import Key"
    assert targets(module_of("town.mill.flour", text)) == {"town.hall"}
    assert targets(module_of("town.inn", text.replace("..", "."), is_folder=True)) == set()
    assert targets(module_of("town.inn", text, is_folder=True)) == {"town.hall"}


def test_what_is_not_of_the_tree_is_no_arrow() -> None:
    assert targets(module_of("town.gate", "import json\nfrom os import path")) == set()


def test_an_import_of_itself_is_no_arrow() -> None:
    assert targets(module_of("town.gate", "import town.gate")) == set()
