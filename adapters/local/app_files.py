"""Whether an app can be found by its name and could be read, without running any of its code."""

from __future__ import annotations

import importlib.machinery
import shutil
import sys
from collections.abc import Iterable
from importlib.machinery import ModuleSpec
from pathlib import Path

from adapters.regular_files import read_regular


def lack_of_app(name: str) -> str | None:
    """What keeps ``folder/file.py:app`` or ``package.module:app`` from being found from here, as
    a worker would look for it; None where it is there."""
    source, _, attribute = name.rpartition(":")
    if not source:
        source, attribute = attribute, "app"
    if not attribute.isidentifier():
        return f"{attribute!r} is no name of an app"
    if source.endswith(".py"):
        return _lack_of_file(source)
    if not all(part.isidentifier() for part in source.split(".")):
        return f"{source!r} is no folder/file.py:app and no package.module:app"
    if (spec := _module(source)) is None:
        return f"no such module: {source}"
    origin = spec.origin or ""
    return _lack_of_sense(Path(origin)) if origin.endswith(".py") else None


def fault_of_python(path: str) -> str | None:
    """What keeps ``path`` from being an interpreter that can be run; None where it may be one."""
    found = shutil.which(path)
    return None if found else f"no program is there that can be run: {path}"


def _lack_of_file(source: str) -> str | None:
    path = Path(source)
    try:
        if path.is_file():
            return _lack_of_sense(path)
        return f"no such file: {source} (looked for {path.resolve()})"
    except (OSError, ValueError) as error:
        return f"{source!r}: {error}"


def _lack_of_sense(path: Path) -> str | None:
    """What a worker could not read of a program."""
    try:
        compile(read_regular(path), path, "exec", dont_inherit=True)
    except SyntaxError as error:
        return f"{path} is no Python: line {error.lineno}: {error.msg}"
    except (OSError, ValueError, RecursionError, MemoryError) as error:
        return f"{path} cannot be read: {error}"
    return None


def _module(source: str) -> ModuleSpec | None:
    """``importlib.util.find_spec`` would import the packages that it is in."""
    # A worker runs with the working directory first, which a console script lacks.
    places: Iterable[str] | None = [str(Path.cwd()), *sys.path]
    parts, spec = source.split("."), None
    for end in range(1, len(parts) + 1):
        spec = _spec_of(".".join(parts[:end]), places)
        if spec is None:
            return None
        places = spec.submodule_search_locations
        if places is None:
            return spec if end == len(parts) else None
    return spec


def _spec_of(module: str, places: Iterable[str] | None) -> ModuleSpec | None:
    found = importlib.machinery.PathFinder.find_spec(module, None if places is None else [*places])
    if found is not None:
        return found
    inside = None if "." not in module or places is None else [*places]
    for finder in sys.meta_path:  # those of editable installations, and what is built in
        if (found := finder.find_spec(module, inside)) is not None:
            return found
    return None
