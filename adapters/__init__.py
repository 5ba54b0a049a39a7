"""One file a platform; every one speaks the port of ``adapters.base``.

``KINDS`` maps the ``kind`` of a backend in YAML to its class. Classes are loaded when a policy
names them, so a platform that nobody uses costs nothing.
"""

from __future__ import annotations

import importlib
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from adapters.base import AdapterClass

KINDS: dict[str, str] = {
    "cog": "adapters.cog:Cog",
    "http": "adapters.http_json:HttpJson",
    "local": "adapters.local:Local",
    "openai": "adapters.openai:OpenAICompatible",
    "replicate": "adapters.replicate:Replicate",
    "runpod": "adapters.runpod:RunPod",
}

ENTRY_POINT_GROUP = "spillgate.adapters"


def known_kinds() -> list[str]:
    """Every kind that a policy may name, third parties' included, sorted."""
    return sorted({*KINDS, *(point.name for point in entry_points(group=ENTRY_POINT_GROUP))})


def load_kind(kind: str) -> AdapterClass:
    """The class of a kind. Raises KeyError for an unknown one."""
    if kind in KINDS:
        module, _, name = KINDS[kind].partition(":")
        return cast("AdapterClass", getattr(importlib.import_module(module), name))
    for point in entry_points(group=ENTRY_POINT_GROUP, name=kind):
        return cast("AdapterClass", point.load())
    raise KeyError(kind)
