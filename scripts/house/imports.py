"""Who imports whom, by the import statements of the code.

Every statement counts, wherever it stands: at the top, in a function, or for type checkers alone.
That importing ``a.b.c`` also runs ``a.b`` counts for nothing.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence, Set

from scripts.house.graph import Arrow
from scripts.house.source import Module


def arrows_of(modules: Sequence[Module]) -> set[Arrow]:
    """From each module to the modules of these that it imports."""
    names = {module.name for module in modules}
    return {
        (module.name, target)
        for module in modules
        for target in imported_by(module, names)
        if target != module.name
    }


def imported_by(module: Module, names: Set[str]) -> Iterator[str]:
    """Those of ``names`` that the module imports, some of them more than once."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in names)
        elif isinstance(node, ast.ImportFrom):
            source = absolute(module, node)
            for alias in node.names:
                inner = f"{source}.{alias.name}"
                target = inner if inner in names else source
                if target in names:
                    yield target


def absolute(module: Module, node: ast.ImportFrom) -> str:
    """What ``from ... import`` names, its leading dots resolved."""
    if not node.level:
        return node.module or ""
    parts = module.folder.split(".")
    above = parts[: len(parts) - node.level + 1]
    return ".".join([*above, node.module] if node.module else above)
