"""The figures of a package and of the whole, from its modules. Pure."""

from __future__ import annotations

import ast
import statistics
from collections import Counter
from collections.abc import Iterable, Sequence

import msgspec

from scripts.house.graph import circles, neighbours, storeys
from scripts.house.imports import arrows_of
from scripts.house.names import PublicName, public_names, used_twice
from scripts.house.source import Module, classes_of, functions_of, length_of

FULLEST = 25
"""Modules that a folder may hold, its ``__init__`` included."""


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured of some modules. Lengths are in lines, shares from 0 to 1."""

    modules: int
    lines: int
    folders: int
    fullest: tuple[str, int]
    storeys: int
    room_arrows: int
    module_arrows: int
    room_circles: list[tuple[str, ...]]
    module_circles: list[tuple[str, ...]]
    function_median: float
    function_p90: int
    function_max: int
    class_max: int
    class_methods_max: int
    file_median: float
    file_max: int
    used_twice: dict[str, list[str]]
    public: int
    documented: float
    """With a docstring of their own."""
    explained: float
    """With one of their own or of the port that they implement."""
    unexplained: list[str]


class House(msgspec.Struct, frozen=True):
    """The packages together, and each."""

    whole: Figures
    packages: dict[str, Figures]


def measure(modules: Sequence[Module]) -> House:
    """Names are judged over the whole: a port may lie in another package than what is one."""
    names = public_names(modules)
    packages = dict.fromkeys(module.package for module in modules)
    return House(
        figures_of(modules, names),
        {
            package: figures_of(
                [module for module in modules if module.package == package],
                [one for one in names if one.name.partition(":")[0].split(".")[0] == package],
            )
            for package in packages
        },
    )


def figures_of(modules: Sequence[Module], names: Sequence[PublicName]) -> Figures:
    """Arrows are those between these modules, of which there is one at least."""
    room_of = {module.name: module.room for module in modules}
    arrows = arrows_of(modules)
    between = {(room_of[a], room_of[b]) for a, b in arrows if room_of[a] != room_of[b]}
    rooms = neighbours(set(room_of.values()), between)
    functions = sorted(length_of(node) for module in modules for node in functions_of(module))
    classes = [node for module in modules for node in classes_of(module)]
    files = sorted(module.lines for module in modules)
    in_folder = Counter(module.folder for module in modules)
    return Figures(
        modules=len(modules),
        lines=sum(files),
        folders=len(in_folder),
        fullest=in_folder.most_common(1)[0],
        storeys=storeys(rooms),
        room_arrows=len(between),
        module_arrows=len(arrows),
        room_circles=circles(rooms),
        module_circles=circles(neighbours(room_of, arrows)),
        function_median=statistics.median(functions) if functions else 0,
        function_p90=functions[len(functions) * 9 // 10] if functions else 0,
        function_max=max(functions, default=0),
        class_max=max(map(length_of, classes), default=0),
        class_methods_max=max(map(_methods, classes), default=0),
        file_median=statistics.median(files),
        file_max=files[-1],
        used_twice=used_twice(modules),
        public=len(names),
        documented=_share(one.has_docstring for one in names),
        explained=_share(one.has_docstring or one.explained_by_port for one in names),
        unexplained=[one.name for one in names if not (one.has_docstring or one.explained_by_port)],
    )


def _methods(node: ast.ClassDef) -> int:
    return sum(isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef) for item in node.body)


def _share(held: Iterable[bool]) -> float:
    counted = list(held)
    return sum(counted) / len(counted) if counted else 1.0
