"""What a parcel holds of an app: its source, what that imports, and what its handler is like."""

from __future__ import annotations

import ast
import inspect
import re
import sys
from collections.abc import Iterator, Mapping
from importlib.metadata import packages_distributions, version
from pathlib import Path
from typing import Any

import msgspec

from local_runtime.api import Handler, Runtime
from local_runtime.loader import load_app

RUNTIME = "local_runtime"
OWN = ("msgspec", "uvloop")
"""What the runtime itself needs inside another platform's worker."""


class Unpackable(Exception):
    """The app cannot be packed; the text says why."""


class Parcel(msgspec.Struct, frozen=True, kw_only=True):
    """One route of one app, for one platform."""

    name: str
    """The app's, in letters, digits and hyphens."""
    file: str
    """The app's source, beside the generated files."""
    attribute: str
    route: str
    streams: bool
    """The handler is a generator."""
    sample: Any
    """Its warm-up request, or None."""
    slots: int
    """Calls that it runs at once."""
    requirements: tuple[str, ...]
    """As ``pip`` reads them: what the sources import, in the versions that are installed here."""
    sources: tuple[Path, ...]
    """The app's file, and the neighbours that it imports."""
    gpu: str = ""
    """The platform's word for a GPU; empty: none."""

    @property
    def app(self) -> str:
        return f"{self.file}:{self.attribute}"

    @property
    def title(self) -> str:
        """The name as that of a class."""
        return "".join(part.capitalize() for part in self.name.split("-"))


def parcel_of(app: str, *, route: str = "", gpu: str = "") -> Parcel:
    """Imports the app, which starts nothing. Raises Unpackable, AppNotFound, and what the app's own
    code raises."""
    source, _, attribute = app.rpartition(":")
    path = Path(source or attribute)
    if path.suffix != ".py":
        raise Unpackable(f"{app} names no file: give folder/file.py:app")
    attribute = attribute if source else "app"
    runtime = load_app(f"{path}:{attribute}")
    handler = _handler(runtime, route)
    sources = tuple(_with_neighbours(path.resolve()))
    return Parcel(
        name=re.sub(r"[^a-z0-9]+", "-", runtime.name.lower()).strip("-") or "app",
        file=path.name,
        attribute=attribute,
        route=handler.route,
        streams=_is_generator(handler),
        sample=handler.warmup,
        slots=handler.slots,
        requirements=requirements_of(sources),
        sources=sources,
        gpu=gpu,
    )


def _handler(runtime: Runtime, route: str) -> Handler:
    """The wanted handler, else that of "/", else the only one."""
    handlers = {name: one for name, one in runtime.handlers.items() if not one.background}
    wanted = route or ("/" if "/" in handlers else next(iter(handlers), ""))
    if wanted in handlers and (route or wanted == "/" or len(handlers) == 1):
        return handlers[wanted]
    names = ", ".join(handlers) or "none"
    raise Unpackable(
        f"{runtime.name} has no handler for {route or '/'}; --route is one of: {names}"
    )


def _is_generator(handler: Handler) -> bool:
    function = handler.function
    return inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function)


def _with_neighbours(app: Path) -> Iterator[Path]:
    """The file and every module or package beside it that one of these imports."""
    found, waiting = {app}, [app]
    for path in waiting:
        yield path
        for name in sorted(_imported(path) - {RUNTIME}):
            for neighbour in (app.parent / f"{name}.py", app.parent / name):
                ours = neighbour.suffix == ".py" or (neighbour / "__init__.py").is_file()
                if neighbour.exists() and ours and neighbour not in found:
                    found.add(neighbour)
                    waiting.append(neighbour)


def requirements_of(sources: tuple[Path, ...]) -> tuple[str, ...]:
    """The installed distributions whose modules the sources import, and the runtime's own."""
    names = {name for source in sources for name in _imported(source)}
    names -= {RUNTIME, *sys.stdlib_module_names, *(source.stem for source in sources)}
    homes: Mapping[str, list[str]] = packages_distributions()
    needed = {homes[name][0] for name in names if name in homes} | set(OWN)
    return tuple(f"{name}=={_public(version(name))}" for name in sorted(needed, key=str.lower))


def _public(number: str) -> str:
    """Without a local part such as ``+cpu``, which no public index has."""
    return number.partition("+")[0]


def _imported(source: Path) -> set[str]:
    """Top-level names of absolute imports, in a file or in all files of a folder."""
    files = sorted(source.rglob("*.py")) if source.is_dir() else [source]
    found: set[str] = set()
    for file in files:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found.add(node.module.partition(".")[0])
    return found
