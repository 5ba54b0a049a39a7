"""What documents, docstrings and comments refer to by name, and whether it is there. Pure.

Looked at is what stands between backticks: a path (``a/b.py``, or its end, ``b.py``), a folder
(``a/b/``), a test (``a/b.py::test_c``), a module or a name in one (``pkg.mod``, ``pkg.mod:Name``),
a class (``Name``). Blocks of code in documents are left alone; their own tests run them.
"""

from __future__ import annotations

import ast
import builtins
import io
import re
import tokenize
from collections.abc import Iterable, Iterator, Mapping
from pathlib import PurePosixPath

_TICKS = re.compile(r"`{1,2}([^`\n]+?)`{1,2}")
_BARE = re.compile(r"(?<![\w./`*-])[\w/]+\.py\b(?!`)")
_FENCED = re.compile(r"```.*?```", re.DOTALL)
_FILE = re.compile(r"[\w.-]+(/[\w.-]+)*\.(py|lua|md|ya?ml|sh|html|toml|json|txt)")
_TEST = re.compile(r"[\w./-]+\.py::test_\w+")
_FOLDER = re.compile(r"[\w.-]+(/[\w.-]+)*/")
_DOTTED = re.compile(r"[a-z]\w*(\.\w+)+(:\w+)?")
_CLASS = re.compile(r"([A-Z][a-z0-9]+(?:[A-Z][a-z0-9]*)*)(\.\w+)?")


class Names:
    """What there is: files and folders by every end of their path, modules, identifiers."""

    def __init__(self, files: Iterable[str], trees: Mapping[str, ast.Module]) -> None:
        paths = [PurePosixPath(file) for file in files]
        self.files = {end for path in paths for end in _ends(path)}
        folders = {folder for path in paths for folder in path.parents if folder.parts}
        self.folders = {end for folder in folders for end in _ends(folder)}
        self.tops = {folder.name for folder in folders if len(folder.parts) == 1}
        self.modules = {_module(file): _identifiers(tree) for file, tree in trees.items()}
        self.tests = {f"{end}::{name}" for file in trees for end, name in self._tests_of(file)}
        self.packages = {".".join(folder.parts) for folder in folders}
        self.words = set(dir(builtins)).union(*self.modules.values())
        for tree in trees.values():
            self.words |= set(_words_in_strings(tree))

    def lack(self, mention: str) -> bool:
        """Whether it reads as a path, a module or a class, and there is none."""
        if _FILE.fullmatch(mention):
            return mention not in self.files
        if _TEST.fullmatch(mention):
            return mention not in self.tests
        if _FOLDER.fullmatch(mention):
            return mention.rstrip("/") not in self.folders
        if _DOTTED.fullmatch(mention) and mention.partition(".")[0] in self.tops:
            return not self._is_dotted(mention)
        found = _CLASS.fullmatch(mention)
        return found is not None and found[1] not in self.words

    def _tests_of(self, file: str) -> Iterator[tuple[str, str]]:
        names = [name for name in self.modules[_module(file)] if name.startswith("test_")]
        return ((end, name) for end in _ends(PurePosixPath(file)) for name in names)

    def _is_dotted(self, mention: str) -> bool:
        """A module, a folder, or something at the top of a module; what follows it is not asked."""
        parts = re.split(r"[.:]", mention)
        for end in range(len(parts), 0, -1):
            module = ".".join(parts[:end])
            if module in self.modules:
                return end == len(parts) or parts[end] in self.modules[module]
        return ".".join(parts) in self.packages


def in_document(text: str) -> Iterator[tuple[int, str]]:
    """Line, counted from 1, and mention."""
    text = _FENCED.sub(lambda block: "\n" * block[0].count("\n"), text)
    for number, line in enumerate(text.splitlines(), 1):
        yield from ((number, found) for found in _TICKS.findall(line))


def in_code(text: str) -> Iterator[tuple[int, str]]:
    """The same for docstrings and comments, in which a bare ``file.py`` is a mention too."""
    for number, line in _prose_of(text):
        yield from ((number, found) for found in _TICKS.findall(line))
        yield from ((number, found) for found in _BARE.findall(line))


def _prose_of(text: str) -> Iterator[tuple[int, str]]:
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.Expr(value=ast.Constant(value=str() as prose)):
                yield from enumerate(prose.splitlines(), node.lineno)
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string


def _ends(path: PurePosixPath) -> Iterator[str]:
    return ("/".join(path.parts[start:]) for start in range(len(path.parts)))


def _module(file: str) -> str:
    return ".".join(PurePosixPath(file).with_suffix("").parts).removesuffix(".__init__")


def _identifiers(tree: ast.Module) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(tree):
        match node:
            case ast.ClassDef(name=name) | ast.FunctionDef(name=name):
                found.add(name)
            case ast.AsyncFunctionDef(name=name) | ast.Name(id=name) | ast.arg(arg=name):
                found.add(name)
            case ast.Attribute(attr=name):
                found.add(name)
            case ast.alias(name=name, asname=asname):
                found.update(name.split("."), [asname] if asname else [])
    return found


def _words_in_strings(tree: ast.Module) -> Iterator[str]:
    """Of strings that are values: what a header or a platform's type is called."""
    prose = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        match node:
            case ast.Constant(value=str() as value) if id(node) not in prose:
                yield from re.findall(r"\w+", value)
