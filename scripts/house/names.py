"""Public names: which have a docstring, and which are used twice. Pure.

Public are the classes and functions at the top of a module and the methods (properties too) of such
classes, where neither they nor a part of their module's name begins with an underscore. Not counted
are constants, ``__init__`` and its like, overloads, setters, and tests, whose names are sentences.

A method that implements a port says what the port says. It has its port's docstring where its
class, or one that it inherits from, names the port among its bases, or is one by Python's own rule
for protocols: it has every method of the protocol, here with the same parameters.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

import msgspec

from scripts.house.imports import absolute
from scripts.house.source import Function, Module

DECLARED_PAIRS = frozenset({"Clock", "SystemClock", "Request", "Response"})
"""Names that two packages use for the same thing, each of which stands alone."""
_TWICE = frozenset({"overload", "setter", "deleter"})
"""Decorators of functions that are there once more under the same name."""


class PublicName(msgspec.Struct, frozen=True):
    """``module:Class.method``, and whose docstring says what it is."""

    name: str
    has_docstring: bool
    explained_by_port: bool = False
    """It has none, and implements a port's method that has one."""


class _Class(msgspec.Struct, frozen=True):
    name: str
    bases: tuple[str, ...]
    """Full names, of those of this tree."""
    methods: Mapping[str, Function]
    is_protocol: bool


def public_names(modules: Sequence[Module]) -> list[PublicName]:
    """Every public name of these modules. Ports are looked for in these modules alone."""
    classes = _Classes(modules)
    found: list[PublicName] = []
    for module in filter(_is_public, modules):
        for node in module.tree.body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                found += _of_node(module, node, classes)
    return found


def used_twice(modules: Sequence[Module]) -> dict[str, list[str]]:
    """Public class names outside the declared pairs that several modules define, and these."""
    homes: dict[str, list[str]] = defaultdict(list)
    for module in modules:
        for node in module.tree.body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                homes[node.name].append(module.name)
    return {
        name: where
        for name, where in sorted(homes.items())
        if len(where) > 1 and name not in DECLARED_PAIRS
    }


def _is_public(module: Module) -> bool:
    parts = module.name.split(".")
    return not any(part.startswith("_") for part in parts if part != "__main__")


def _of_node(
    module: Module, node: ast.ClassDef | Function, classes: _Classes
) -> Iterator[PublicName]:
    if node.name.startswith(("_", "test_")):
        return
    yield PublicName(f"{module.name}:{node.name}", ast.get_docstring(node) is not None)
    if isinstance(node, ast.ClassDef):
        full = f"{module.name}:{node.name}"
        for name, method in _methods(node).items():
            if not name.startswith(("_", "test_")):
                has_docstring = ast.get_docstring(method) is not None
                explained_by_port = not has_docstring and classes.has_port_docstring(full, name)
                yield PublicName(f"{full}.{name}", has_docstring, explained_by_port)


def _methods(node: ast.ClassDef) -> dict[str, Function]:
    return {
        item.name: item
        for item in node.body
        if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef)
        and not {_last_word(one) for one in item.decorator_list} & _TWICE
    }


def _last_word(node: ast.expr) -> str:
    """``Protocol`` of ``typing.Protocol[T]``."""
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
        case ast.Subscript(value=value) | ast.Call(func=value):
            return _last_word(value)
    return ""


class _Classes:
    """The classes at the top of the modules, and who stands on whom."""

    def __init__(self, modules: Sequence[Module]) -> None:
        self._modules = {module.name: module for module in modules}
        self._imports = {module.name: _imports(module) for module in modules}
        self._classes = {
            f"{module.name}:{node.name}": self._read(module, node)
            for module in modules
            for node in module.tree.body
            if isinstance(node, ast.ClassDef)
        }
        self._protocols = [one for one in self._classes.values() if one.is_protocol and one.methods]

    def has_port_docstring(self, full: str, method: str) -> bool:
        """Whether a class that this one inherits from, or a protocol that it is, has one."""
        ports = [*self._ancestry(full)[1:], *self._protocols_of(full)]
        return any(
            method in port.methods and ast.get_docstring(port.methods[method]) is not None
            for port in ports
        )

    def _read(self, module: Module, node: ast.ClassDef) -> _Class:
        bases = (self._resolved(module.name, _last_word(base)) for base in node.bases)
        return _Class(
            name=f"{module.name}:{node.name}",
            bases=tuple(base for base in bases if base),
            methods=_methods(node),
            is_protocol=any(_last_word(base) == "Protocol" for base in node.bases),
        )

    def _resolved(self, module: str, name: str) -> str:
        """The full name of what a module calls ``name``, through the faces that hand it on."""
        seen: set[str] = set()
        while module in self._modules and module not in seen:
            seen.add(module)
            tops = self._modules[module].tree.body
            if any(isinstance(node, ast.ClassDef) and node.name == name for node in tops):
                return f"{module}:{name}"
            module, name = self._imports[module].get(name, ("", ""))
        return ""

    def _ancestry(self, full: str) -> list[_Class]:
        """The class, its bases, and theirs."""
        found: dict[str, _Class] = {}
        queue = [full]
        while queue:
            one = queue.pop(0)
            if one in self._classes and one not in found:
                found[one] = self._classes[one]
                queue += self._classes[one].bases
        return list(found.values())

    def _protocols_of(self, full: str) -> Iterator[_Class]:
        """Every protocol whose methods the class has, with the same parameters."""
        own: dict[str, list[str]] = {}
        for ancestor in reversed(self._ancestry(full)):
            own |= {name: _parameters(method) for name, method in ancestor.methods.items()}
        for protocol in self._protocols:
            wanted = {name: _parameters(one) for name, one in protocol.methods.items()}
            if wanted.items() <= own.items():
                yield protocol


def _parameters(method: Function) -> list[str]:
    given = method.args
    return [one.arg for one in (*given.posonlyargs, *given.args, *given.kwonlyargs)]


def _imports(module: Module) -> dict[str, tuple[str, str]]:
    """What each imported name is called where it comes from: module and name."""
    return {
        alias.asname or alias.name: (absolute(module, node), alias.name)
        for node in ast.walk(module.tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
