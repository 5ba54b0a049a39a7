"""Other names of models: ``models: {gpt-4o: {alias: llama}}``.

An alias is read apart from the models, so that wherever else a policy names a model it names one.
"""

from __future__ import annotations

import msgspec

from gateway.policy.syntax.findings import BAD, Findings
from gateway.policy.syntax.nodes import MapEntry, MapNode
from gateway.policy.syntax.scalars import ModelName, Name
from gateway.policy.syntax.schema import read
from gateway.policy.syntax.shapes import shape_of

_SECTION = "models"


class Alias(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Another name of a model, that callers may give."""

    alias: ModelName
    """The model that is called by it: one that is no alias itself."""


def without_aliases(document: MapNode) -> tuple[MapNode, dict[str, MapEntry]]:
    """The document with nothing but models under ``models``; name -> what stands there for each
    alias."""
    section = document.entries.get(_SECTION)
    if section is None or not isinstance(section.value, MapNode):
        return document, {}
    models = section.value
    found = {
        name: entry
        for name, entry in models.entries.items()
        if isinstance(entry.value, MapNode) and "alias" in entry.value.entries
    }
    if not found:
        return document, found
    rest = {name: entry for name, entry in models.entries.items() if name not in found}
    kept = MapEntry(section.mark, MapNode(models.mark, rest))
    return MapNode(document.mark, {**document.entries, _SECTION: kept}), found


def read_aliases(found: dict[str, MapEntry], reading: Findings) -> dict[str, str]:
    """Alias -> the model that it names; what is wrong is noted."""
    if not found:
        return {}
    node = MapNode(next(iter(found.values())).mark, found)
    read_all = read(node, shape_of(dict[Name, Alias]), _SECTION, reading)
    if read_all is BAD:
        return {}
    return {name: one.alias for name, one in read_all.items()}
