"""Whether an app can be found by its name, without running any of its code."""

from __future__ import annotations

import importlib.machinery
import sys
from collections.abc import Iterable
from importlib.machinery import ModuleSpec
from pathlib import Path


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
    return None if _is_module(source) else f"no such module: {source}"


def _lack_of_file(source: str) -> str | None:
    path = Path(source)
    try:
        if path.is_file():
            return None
        return f"no such file: {source} (looked for {path.resolve()})"
    except (OSError, ValueError) as error:
        return f"{source!r}: {error}"


def _is_module(source: str) -> bool:
    """``importlib.util.find_spec`` would import the packages that it is in."""
    # A worker runs with the working directory first, which a console script lacks.
    places: Iterable[str] | None = [str(Path.cwd()), *sys.path]
    parts = source.split(".")
    for end in range(1, len(parts) + 1):
        spec = _spec_of(".".join(parts[:end]), places)
        if spec is None:
            return False
        places = spec.submodule_search_locations
        if places is None:
            return end == len(parts)
    return True


def _spec_of(module: str, places: Iterable[str] | None) -> ModuleSpec | None:
    found = importlib.machinery.PathFinder.find_spec(module, None if places is None else [*places])
    if found is not None:
        return found
    inside = None if "." not in module or places is None else [*places]
    for finder in sys.meta_path:  # those of editable installations, and what is built in
        if (found := finder.find_spec(module, inside)) is not None:
            return found
    return None
