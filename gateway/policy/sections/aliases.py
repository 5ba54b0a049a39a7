"""Other names of models: ``models: {gpt-4o: {alias: llama}}``, and of several versions of one:
``models: {llama: {split: {"llama:2026-11": 90, "llama:2026-12": 10}}}``.

An alias is read apart from the models, so that wherever else a policy names a model it names one.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import partial
from typing import Protocol

from gateway.policy.sections.model_names import Alias
from gateway.policy.syntax.findings import BAD, Findings
from gateway.policy.syntax.nodes import MapEntry, MapNode
from gateway.policy.syntax.problems import suggestion
from gateway.policy.syntax.scalars import Name
from gateway.policy.syntax.schema import read
from gateway.policy.syntax.shapes import shape_of

_SECTION = "models"
_KEYS = frozenset(("alias", "split"))
_OF_MODELS = frozenset(("task", "backends"))


class _HasTask(Protocol):
    """A model."""

    @property
    def task(self) -> str: ...


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
        if isinstance(entry.value, MapNode) and _is_meant(entry.value.entries.keys())
    }
    if not found:
        return document, found
    rest = {name: entry for name, entry in models.entries.items() if name not in found}
    kept = MapEntry(section.mark, MapNode(models.mark, rest))
    return MapNode(document.mark, {**document.entries, _SECTION: kept}), found


def _is_meant(keys: Collection[str]) -> bool:
    """By what stands there an alias is meant, though its key may be misspelt."""
    if not _KEYS.isdisjoint(keys):
        return True
    return _OF_MODELS.isdisjoint(keys) and any(map(partial(suggestion, allowed=_KEYS), keys))


def read_aliases(
    found: dict[str, MapEntry], models: Mapping[str, _HasTask], reading: Findings
) -> dict[str, Alias]:
    """By their names; what is wrong is noted."""
    if not found:
        return {}
    node = MapNode(next(iter(found.values())).mark, found)
    read_all = read(node, shape_of(dict[Name, Alias]), _SECTION, reading)
    if read_all is BAD:
        return {}
    for name, one in read_all.items():
        found_tasks = sorted({models[model].task for model in one.split if model in models})
        if len(found_tasks) > 1:
            text = f"its versions are of several tasks: {', '.join(found_tasks)}"
            reading.note(found[name].mark, f"{_SECTION}.{name}.split", text)
    return dict(read_all)
