"""The figures as text: a table with a column for the whole and one for each package. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from scripts.house.figures import Figures, House


def _circles(found: Sequence[Sequence[str]]) -> str:
    return f"{len(found)} ({sum(map(len, found))})" if found else "0"


def _of_functions(one: Figures) -> str:
    return f"{one.function_median:g} / {one.function_p90} / {one.function_max}"


Row = tuple[str, Callable[[Figures], str]]
ROWS: Sequence[Row] = (
    ("modules", lambda one: str(one.modules)),
    ("lines", lambda one: f"{one.lines:,}"),
    ("folders", lambda one: str(one.folders)),
    ("modules in the fullest folder", lambda one: str(one.fullest[1])),
    ("storeys", lambda one: str(one.storeys)),
    ("arrows between rooms", lambda one: str(one.room_arrows)),
    ("arrows between modules", lambda one: str(one.module_arrows)),
    ("circles between rooms", lambda one: _circles(one.room_circles)),
    ("circles between modules", lambda one: _circles(one.module_circles)),
    ("function: median / p90 / max", _of_functions),
    ("class: lines / methods, max", lambda one: f"{one.class_max} / {one.class_methods_max}"),
    ("file: median / max", lambda one: f"{one.file_median:g} / {one.file_max}"),
    ("class names used twice", lambda one: str(len(one.used_twice))),
    ("public names", lambda one: f"{one.public:,}"),
    ("with a docstring", lambda one: f"{one.documented:.1%}"),
    ("with one, or their port's", lambda one: f"{one.explained:.1%}"),
)
LEGEND = """\
A room is a folder, or a file at the top of a package. A storey is one room of the longest chain of
arrows, circles taken for one room. Every import statement is an arrow, lazy ones and those for type
checkers too. Circles: how many, and how many stand in them. Public names are classes, functions and
methods; scripts/house/names.py says which, and when a method has its port's docstring."""


def as_table(house: House) -> str:
    """One row a figure, right-aligned."""
    columns = {"the whole": house.whole, **house.packages}
    cells = [["", *columns]]
    cells += [[title, *map(show, columns.values())] for title, show in ROWS]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [
        "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in cells
    ]
    return "\n".join([*lines, "", LEGEND])


def as_list(house: House) -> str:
    """What falls short, by name: circles, class names used twice, names without a docstring."""
    whole = house.whole
    lines = [f"the fullest folder: {whole.fullest[0]}"]
    lines += [f"circle between rooms: {', '.join(one)}" for one in whole.room_circles]
    lines += [f"circle between modules: {', '.join(one)}" for one in whole.module_circles]
    lines += [f"used twice: {name} in {', '.join(at)}" for name, at in whole.used_twice.items()]
    lines += [f"no docstring: {name}" for name in whole.unexplained]
    return "\n".join(lines)
