"""The modules of a checkout as syntax trees. Nothing is imported, so any checkout can be read."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import msgspec

PACKAGES = ("gateway", "adapters", "local_runtime", "spillgate_contract")
Function = ast.FunctionDef | ast.AsyncFunctionDef


class Module(msgspec.Struct, frozen=True):
    """One file of Python. ``name`` is dotted; that of an ``__init__`` is its package's."""

    name: str
    tree: ast.Module
    lines: int
    is_folder: bool = False
    """Whether this is the ``__init__`` of a folder."""

    @property
    def package(self) -> str:
        return self.name.partition(".")[0]

    @property
    def folder(self) -> str:
        """The dotted name of the folder that the file lies in."""
        return self.name if self.is_folder else self.name.rpartition(".")[0]

    @property
    def room(self) -> str:
        """Where a reader stands: its folder; a file at the top of a package by itself.

        The top holds what stands above all folders (a composition root) and what stands below
        them (the types that all share), so that it is no storey of its own.
        """
        return self.name if self.folder == self.package else self.folder


def module_of(name: str, text: str, *, is_folder: bool = False) -> Module:
    """Raises SyntaxError for what is no Python."""
    return Module(name, ast.parse(text), len(text.splitlines()), is_folder)


def read_house(root: Path) -> list[Module]:
    """Every module of the packages that this checkout has, sorted by name."""
    found = (module for package in PACKAGES for module in _read_package(root, package))
    return sorted(found, key=lambda module: module.name)


def _read_package(root: Path, package: str) -> Iterator[Module]:
    for path in (root / package).rglob("*.py"):
        parts = path.relative_to(root).with_suffix("").parts
        is_folder = parts[-1] == "__init__"
        name = ".".join(parts[:-1] if is_folder else parts)
        yield module_of(name, path.read_text(), is_folder=is_folder)


def functions_of(module: Module) -> Iterator[Function]:
    """Every function, methods and nested ones included."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def classes_of(module: Module) -> Iterator[ast.ClassDef]:
    """Every class, nested ones included."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.ClassDef):
            yield node


def length_of(node: ast.stmt) -> int:
    """Lines from ``def`` or ``class`` to the last, its docstring included, decorators not."""
    assert node.end_lineno is not None
    return node.end_lineno - node.lineno + 1
