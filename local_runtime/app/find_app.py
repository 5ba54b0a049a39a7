"""Finds an app by its name: ``folder/file.py:app`` or ``package.module:app``."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

from local_runtime.app.runtime import Runtime


class AppNotFound(Exception):
    """No such file, module or name, or it is no Runtime: trying again would not help."""


def load_app(name: str) -> Runtime:
    """The Runtime that ``name`` stands for; paths are relative to the working directory.

    Raises AppNotFound, or whatever the app's own code raises when it is imported.
    """
    source, _, attribute = name.rpartition(":")
    if not source:
        source, attribute = attribute, "app"
    module = _from_file(source) if source.endswith(".py") else _from_module(source)
    app = getattr(module, attribute, None)
    if app is None:
        raise AppNotFound(f"{source} has nothing named {attribute!r}")
    if not isinstance(app, Runtime) and hasattr(app, "as_runtime"):
        app = app.as_runtime()
    if not isinstance(app, Runtime):
        raise AppNotFound(f"{name} is a {type(app).__name__}, not a local_runtime.Runtime")
    if not app.handlers:
        raise AppNotFound(f"{name} has no handlers")
    return app


def _from_file(source: str) -> ModuleType:
    path = Path(source).resolve()
    if not path.is_file():
        raise AppNotFound(f"no such file: {source} (looked for {path})")
    _make_importable(path.parent)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


def _from_module(source: str) -> ModuleType:
    try:
        return importlib.import_module(source)
    except ModuleNotFoundError as error:
        if error.name is not None and (source == error.name or source.startswith(error.name + ".")):
            raise AppNotFound(f"no such module: {source}") from None
        raise


def _make_importable(folder: Path) -> None:
    """Lets the app import its neighbours, behind everything that is installed: a neighbour
    called ``queue.py`` must not replace the standard library's."""
    if str(folder) not in sys.path:
        sys.path.append(str(folder))
