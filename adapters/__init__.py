"""The port to any backend, and one folder or file for each platform that speaks it.

The port: ``base`` is what the gateway may ask of a backend (start, invoke, probe, close, and the
small abilities beside them), ``types`` a call and its answer as values, ``routes`` the paths of
tasks, ``images`` what an image is, ``errors`` the classes of failure that decide whether another
backend is tried, ``settings`` the scalars that a backend's YAML may hold, ``names`` those that are
names; ``regular_files`` reads files that a policy names, ``trust`` is whom a backend's certificate
is believed by, ``proxies`` are those on the way to it, ``tunnel`` goes through one, ``shortage`` is
what the gateway lacks itself. ``fake`` is a backend that does as it is told, for tests.

Platforms: ``local`` (warm workers of our own), ``openai`` (vLLM, SGLang, llama.cpp, a provider),
``runpod``, ``modal``, ``replicate``, ``huggingface``, ``baseten``, ``vercel``, ``potassium``,
``cog`` (a container's own API), ``http_json`` (``kind: http``, any JSON endpoint by a mapping). In
a folder, ``backend`` is the adapter: begin there. A new platform is best begun as a copy of
``vercel``, the smallest; it imports the port and ``http``, never the gateway nor another platform.

What several share: ``http/`` is the toolkit of platforms behind HTTP; ``polling`` asks a platform
until a job is done; ``remote_jobs`` remembers jobs by their call, so that what nobody waits for is
cancelled; ``waiting`` bounds what may take too long; ``cold_starts`` says how much of a call was a
start, ``round_trips`` how far away a host is; ``forms`` reads forms with files, ``whole_events``
cuts bytes into server-sent events; ``realtime/`` reads what a conversation's caller says;
``websocket/`` reads frames; ``shapes/`` tells answers and failures by their JSON; ``buckets/`` is
where objects lie, and the signed URLs to them; ``bills`` reads amounts and instants of platforms'
bills; ``assumptions`` puts what is taken for granted of a platform to the test.

``KINDS`` maps the ``kind`` of a backend in YAML to its class. Classes are loaded when a policy
names them, so a platform that nobody uses costs nothing. A package of a third party offers more by
the entry-point group ``spillgate.adapters``; see ``docs/adapters/writing.md``.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from typing import TYPE_CHECKING, cast

from msgspec import Struct

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from adapters.base import AdapterClass

KINDS: dict[str, str] = {
    "baseten": "adapters.baseten:Baseten",
    "cog": "adapters.cog:Cog",
    "http": "adapters.http_json:HttpJson",
    "huggingface": "adapters.huggingface:HuggingFace",
    "local": "adapters.local:Local",
    "modal": "adapters.modal:Modal",
    "openai": "adapters.openai:OpenAICompatible",
    "potassium": "adapters.potassium:PotassiumBackend",
    "replicate": "adapters.replicate:Replicate",
    "runpod": "adapters.runpod:RunPod",
    "vercel": "adapters.vercel:Vercel",
}

ENTRY_POINT_GROUP = "spillgate.adapters"
_PORT = ("start", "invoke", "probe", "aclose")
"""Methods without which a class is no backend."""


class BrokenKind(ImportError):
    """A package that offers a kind cannot give it; the message names the package."""


def known_kinds() -> list[str]:
    """Every kind that a policy may name, third parties' included, sorted. Imports none."""
    return sorted({*KINDS, *(point.name for point in _points())})


def load_kind(kind: str) -> AdapterClass:
    """The class of a kind. Raises KeyError for an unknown one, BrokenKind for one whose package
    fails. A package cannot take the place of a kind of ours."""
    if kind in KINDS:
        module, _, name = KINDS[kind].partition(":")
        return cast("AdapterClass", getattr(importlib.import_module(module), name))
    return _from_package(kind, _point(kind))


def class_for(kind: str, settings: Struct) -> AdapterClass:
    """The class of the backends of a kind that have these settings: a kind may have several, of
    which its ``class_of`` says which can do what. Raises as ``load_kind``."""
    found = load_kind(kind)
    class_of = getattr(found, "class_of", None)
    return found if class_of is None else cast("AdapterClass", class_of(settings))


def package_of(kind: str) -> str | None:
    """Name and version of the third party's package that a kind comes from; None for ours.
    Raises KeyError for an unknown kind, BrokenKind where two packages offer it."""
    return None if kind in KINDS else _package(_point(kind))


def _point(kind: str) -> EntryPoint:
    points = {point.value: point for point in _points() if point.name == kind}
    if not points:
        raise KeyError(kind)
    if len(points) > 1:
        raise BrokenKind(f"it is offered by {' and '.join(map(_package, points.values()))}")
    return next(iter(points.values()))


def _points() -> Iterable[EntryPoint]:
    # Imported here because most policies name kinds of ours alone.
    from importlib.metadata import entry_points

    return entry_points(group=ENTRY_POINT_GROUP)


def _from_package(kind: str, point: EntryPoint) -> AdapterClass:
    try:
        found = point.load()
    except Exception as error:  # whatever a stranger's module does when it is imported
        reason = f"{type(error).__name__}: {error}"
        raise BrokenKind(f"{_package(point)} fails at its import ({reason})") from error
    if (lack := _lack(found)) is not None:
        raise BrokenKind(f"{_package(point)} offers {point.value} for it, which {lack}")
    return cast("AdapterClass", found)


def _lack(found: object) -> str | None:
    """What keeps an object from being the class of a kind."""
    settings = getattr(found, "Settings", None)
    if not callable(found):
        return "is no class"
    if not (isinstance(settings, type) and issubclass(settings, Struct)):
        return "has no Settings that are a msgspec.Struct"
    missing = [name for name in _PORT if not hasattr(found, name)]
    return f"has no {', '.join(missing)}" if missing else None


def _package(point: EntryPoint) -> str:
    return "a package" if point.dist is None else f"{point.dist.name} {point.dist.version}"
