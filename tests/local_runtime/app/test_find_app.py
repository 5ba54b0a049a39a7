"""How an app is found by its name."""

from __future__ import annotations

from pathlib import Path

import pytest

from local_runtime.app.find_app import AppNotFound, load_app

ECHO = str(Path(__file__).parents[2] / "programs" / "echo.py")


@pytest.mark.parametrize("name", [f"{ECHO}:app", ECHO, "tests.programs.echo:app"])
def test_an_app_is_found_by_its_file_or_its_module(name: str) -> None:
    """``app`` is the name that is meant when none is given."""
    assert load_app(name).name == "echo"


def test_an_app_may_import_its_neighbours_but_they_replace_nothing(tmp_path: Path) -> None:
    """A neighbour called like a module of the standard library stays a neighbour."""
    (tmp_path / "neighbour_of_the_app.py").write_text("NAME = 'from next door'")
    (tmp_path / "queue.py").write_text("raise RuntimeError('not me')")
    (tmp_path / "my_app.py").write_text(
        "import queue, neighbour_of_the_app, local_runtime\n"
        "app = local_runtime.Runtime(neighbour_of_the_app.NAME)\n"
        "app.handler('/')(queue.Queue)\n"
    )
    assert load_app(f"{tmp_path}/my_app.py:app").name == "from next door"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("no/such.py:app", "no such file: no/such.py"),
        ("no_such_package.module:app", "no such module: no_such_package.module"),
        (f"{ECHO}:nothing", "has nothing named 'nothing'"),
        (f"{ECHO}:init", "is a function, not a local_runtime.Runtime"),
    ],
)
def test_an_app_that_is_not_there_is_named(name: str, words: str) -> None:
    """With what was looked for."""
    with pytest.raises(AppNotFound, match=words):
        load_app(name)


def test_an_app_whose_own_import_fails_is_not_an_app_that_is_missing(tmp_path: Path) -> None:
    """It may work once its dependency is installed."""
    (tmp_path / "needs_more.py").write_text("import no_such_dependency")
    with pytest.raises(ModuleNotFoundError, match="no_such_dependency"):
        load_app(f"{tmp_path}/needs_more.py:app")
