"""What a package holds of an app: its source, what that imports, and what its handler is like."""

from __future__ import annotations

import ast
import inspect
import keyword
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.metadata import packages_distributions, version
from pathlib import Path
from typing import Any

import msgspec

from local_runtime.app.find_app import load_app
from local_runtime.app.runtime import Handler, Runtime

RUNTIME = "local_runtime"
OWN = ("msgspec", "uvloop")
"""What the runtime itself needs inside another platform's worker."""
LATER = {"local_runtime.potassium.RedisConfig": "redis"}
"""What of the runtime imports what, once it is used."""


class Unpackable(Exception):
    """The app cannot be packed; the text says why."""


class Package(msgspec.Struct, frozen=True, kw_only=True):
    """One route of one app, for one platform."""

    name: str
    """The app's, in letters, digits and hyphens."""
    file: str
    """The app's source, beside the generated files."""
    attribute: str
    route: str
    streams: bool
    """The handler is a generator, or a stepper."""
    sample: Any
    """Its warm-up request, or None."""
    slots: int
    """Calls that it runs at once."""
    timeout_s: float
    """Of one run."""
    requirements: tuple[str, ...]
    """As ``pip`` reads them: what the sources import, in the versions that are installed here."""
    folder: Path
    """Where the app's file lies."""
    sources: tuple[Path, ...]
    """The app's file, the neighbours that it imports, and what was named besides: all in
    ``folder``, and as deep in the package."""
    python: str = f"{sys.version_info.major}.{sys.version_info.minor}"
    """The version for which the requirements are pinned: this one."""
    gpu: str = ""
    """The platform's word for a GPU; empty: none."""

    @property
    def app(self) -> str:
        """``file.py:app``, as the runtime finds it in the package."""
        return f"{self.file}:{self.attribute}"

    @property
    def title(self) -> str:
        """The name as that of a class."""
        title = "".join(part.capitalize() for part in self.name.split("-"))
        return title if title.isidentifier() and not keyword.iskeyword(title) else f"App{title}"


def package_of(
    app: str, *, route: str = "", gpu: str = "", besides: Sequence[Path] = ()
) -> Package:
    """Imports the app, which starts nothing. ``besides``: files and folders below the app's folder
    that no import names. Raises Unpackable, AppNotFound, and what the app's own code raises."""
    source, _, attribute = app.rpartition(":")
    path = Path(source or attribute)
    if path.suffix != ".py":
        raise Unpackable(f"{app} names no file: give folder/file.py:app")
    attribute = attribute if source else "app"
    runtime = load_app(f"{path}:{attribute}")
    handler = _handler(runtime, route)
    path = path.resolve()
    imported = tuple(_with_neighbours(path))
    sources = dict.fromkeys((*imported, *(_below(path.parent, each) for each in besides)))
    return Package(
        name=re.sub(r"[^a-z0-9]+", "-", runtime.name.lower()).strip("-") or "app",
        file=path.name,
        attribute=attribute,
        route=handler.route,
        streams=_is_generator(handler),
        sample=handler.warmup,
        slots=handler.slots,
        timeout_s=handler.timeout_s,
        requirements=requirements_of(imported),
        folder=path.parent,
        sources=tuple(sources),
        gpu=gpu,
    )


def _handler(runtime: Runtime, route: str) -> Handler:
    """The wanted handler, else that of "/", else the only one."""
    handlers = runtime.handlers
    wanted = route or ("/" if "/" in handlers else next(iter(handlers), ""))
    if wanted in handlers and (route or wanted == "/" or len(handlers) == 1):
        return handlers[wanted]
    names = ", ".join(handlers)
    raise Unpackable(
        f"{runtime.name} has no handler for {route or '/'}; --route is one of: {names}"
    )


def _is_generator(handler: Handler) -> bool:
    function = handler.function
    if handler.stepper:
        return True
    return inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function)


def _below(folder: Path, besides: Path) -> Path:
    found = besides.resolve()
    if not found.exists():
        raise Unpackable(f"no such file or folder: {besides}")
    if folder not in found.parents:
        raise Unpackable(f"{besides} does not lie below {folder}, where the app is")
    return found


def _with_neighbours(app: Path) -> Iterator[Path]:
    """The file and every module or package beside it that one of these imports."""
    found, waiting = {app}, [app]
    for path in waiting:
        yield path
        for name in sorted(_top(_imported(path)) - {RUNTIME}):
            for neighbour in (app.parent / f"{name}.py", app.parent / name):
                if _is_source(neighbour) and neighbour not in found:
                    found.add(neighbour)
                    waiting.append(neighbour)


def _is_source(path: Path) -> bool:
    """A module or a package; one without an ``__init__.py`` is imported where nothing that is
    installed has its name."""
    if path.suffix == ".py" or (path / "__init__.py").is_file():
        return path.exists()
    if not path.is_dir() or not any(path.rglob("*.py")):
        return False
    return path.name not in {*sys.stdlib_module_names, *packages_distributions()}


def requirements_of(sources: tuple[Path, ...]) -> tuple[str, ...]:
    """The installed distributions whose modules the sources import, by way of this runtime too,
    and the runtime's own."""
    modules = {name for source in sources for name in _imported(source)}
    names = _top(modules | _by_way_of_the_runtime(modules))
    names -= {RUNTIME, *sys.stdlib_module_names, *(source.stem for source in sources)}
    homes: Mapping[str, list[str]] = packages_distributions()
    needed = {home for name in names for home in homes.get(name, ())} | set(OWN)
    return tuple(f"{name}=={_public(version(name))}" for name in sorted(needed, key=str.lower))


def _by_way_of_the_runtime(modules: set[str]) -> set[str]:
    """What the runtime's modules among these import at their top, and those that they import."""
    root = Path(__file__).parents[2]
    found = {needed for name, needed in LATER.items() if name in modules}
    seen, waiting = set[Path](), [name for name in modules if _top({name}) == {RUNTIME}]
    for name in waiting:
        place = root.joinpath(*name.split("."))
        packages = (above / "__init__.py" for above in (place, *place.parents))
        for file in (place.with_suffix(".py"), *packages):
            if file.is_relative_to(root / RUNTIME) and file.is_file() and file not in seen:
                seen.add(file)
                more = _named(ast.parse(file.read_bytes()).body)
                found |= more
                waiting += sorted(each for each in more if _top({each}) == {RUNTIME})
    return found


def _public(number: str) -> str:
    """Without a local part such as ``+cpu``, which no public index has."""
    return number.partition("+")[0]


def _imported(source: Path) -> set[str]:
    """Full names in absolute imports, in a file or in all files of a folder."""
    files = sorted(source.rglob("*.py")) if source.is_dir() else [source]
    return {name for file in files for name in _named(ast.walk(ast.parse(file.read_bytes())))}


def _named(nodes: Iterable[ast.AST]) -> set[str]:
    """What these statements import; a name that is taken from a module may be one itself."""
    found: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def _top(names: set[str]) -> set[str]:
    return {name.partition(".")[0] for name in names}
