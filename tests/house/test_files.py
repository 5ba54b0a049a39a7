"""Files as they lie there, pins, and what is declared."""

from __future__ import annotations

import ast
import importlib.metadata
import os
import re
import sys
from collections.abc import Iterator

from tests.house.distributions import PROJECT, canonical, named
from tests.house.tree import (
    FILES,
    PACKAGES,
    ROOT,
    SOURCE,
    TREES,
    imported,
    name,
    needs_git,
    text_of,
)

pytestmark = needs_git


def test_what_is_run_as_a_program_may_be_run() -> None:
    programs = [path for path in FILES if text_of(path).startswith("#!")]
    assert [name(path) for path in programs if not os.access(path, os.X_OK)] == []


def test_no_file_is_large_and_every_text_ends_with_a_line_break() -> None:
    large = [name(path) for path in FILES if path.stat().st_size > 1_000_000]
    cut = [name(path) for path in FILES if (text := text_of(path)) and not text.endswith("\n")]
    assert large + cut == []


def test_every_pin_is_exact_and_every_dependency_is_pinned() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = [line for line in lines if not line.startswith("#")]
    assert [
        line for line in pins if not re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][^\s+@]*", line)
    ] == []
    extras = PROJECT["optional-dependencies"].values()
    wanted = named([*PROJECT["dependencies"], *(one for extra in extras for one in extra)])
    assert wanted <= {canonical(line.partition("==")[0]) for line in pins}


def at_run_time(tree: ast.AST) -> Iterator[ast.AST]:
    """All but what a type checker alone reads."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            for other in node.orelse:
                yield from at_run_time(other)
        else:
            yield node
            yield from at_run_time(node)


def test_what_the_packages_import_is_declared_and_what_is_declared_is_imported() -> None:
    """An undeclared import works here and fails on a fresh machine; a declared one may be idle."""
    distributions = importlib.metadata.packages_distributions()
    top = {
        module.partition(".")[0]
        for path in SOURCE
        for node in at_run_time(TREES[path])
        if not (isinstance(node, ast.ImportFrom) and node.level)
        for module in imported(node)
    }
    foreign = top - sys.stdlib_module_names - set(PACKAGES)
    used = {canonical(distributions.get(module, [module])[0]) for module in foreign}
    declared = named(PROJECT["dependencies"])
    extras = PROJECT["optional-dependencies"]
    used_here = ("local", "modal", "ray", "postgres", "archive", "otel", "oidc")
    optional = named([one for name in used_here for one in extras[name]])
    assert used - optional - declared == set()
    assert declared - used == set()
