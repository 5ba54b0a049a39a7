"""The figures of a small town, and of this tree."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from scripts.house.__main__ import main
from scripts.house.figures import measure
from scripts.house.source import module_of

TOWN = [
    module_of("town", '"""A town."""\n', is_folder=True),
    module_of("town.start", "from town.mill.wheel import turn\n"),
    module_of(
        "town.words", "class Word:\n    def a(self): ...\n    def b(self):\n        return 1\n"
    ),
    module_of("town.mill", '"""A mill."""\n', is_folder=True),
    module_of("town.mill.wheel", "from town.mill.flour import f\nimport town.words\n"),
    module_of("town.mill.flour", "import town.words\ndef f(): ...\n"),
]


def test_rooms_are_folders_and_the_files_at_the_top() -> None:
    town = measure(TOWN).whole
    assert town.storeys == 3  # start, mill, words
    assert (town.room_arrows, town.module_arrows) == (2, 4)
    assert town.room_circles == []


def test_folders_are_counted_with_their_inits() -> None:
    town = measure(TOWN).whole
    assert (town.folders, town.fullest) == (2, ("town", 3))


def test_two_folders_that_import_each_other_are_a_circle_though_no_modules_are() -> None:
    back = module_of("town.inn", "from town.mill.flour import f\n", is_folder=True)
    forth = module_of("town.mill.cart", "import town.inn.beer\n")
    beer = module_of("town.inn.beer", "")
    town = measure([*TOWN, back, forth, beer]).whole
    assert town.room_circles == [("town.inn", "town.mill")]
    assert town.module_circles == []


def test_lengths_are_those_of_functions_classes_and_files() -> None:
    town = measure(TOWN).whole
    assert (town.function_median, town.function_max) == (1, 2)
    assert (town.class_max, town.class_methods_max) == (4, 2)
    assert town.file_max == 4


def test_each_package_has_figures_of_its_own() -> None:
    house = measure([*TOWN, module_of("field", "import town.words\n")])
    assert house.packages.keys() == {"town", "field"}
    assert house.packages["field"].module_arrows == 0
    assert house.whole.module_arrows == 5


def test_a_folder_without_the_packages_is_refused(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with pytest.raises(SystemExit) as refused:
        main([str(tmp_path)])
    assert refused.value.code == 2
    assert f"{tmp_path}: none of gateway" in capsys.readouterr().err


def test_the_command_shows_this_tree_and_names_what_falls_short(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["--list"]) == 0
    shown = capsys.readouterr().out
    assert "storeys" in shown
    assert "local_runtime" in shown.splitlines()[0]


def test_machines_get_the_same_as_json(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "gateway").mkdir()
    (tmp_path / "gateway" / "__init__.py").write_text("import json\n")
    assert main(["--json", str(tmp_path)]) == 0
    house = json.loads(capsys.readouterr().out)[str(tmp_path)]
    assert house["packages"]["gateway"]["modules"] == 1
    assert house["whole"]["unexplained"] == []
