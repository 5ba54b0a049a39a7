"""One backend's endpoints in several regions.

    far: {kind: openai, regions: {eu: {base_url: ...}, us: {base_url: ...}}}

are two backends, ``far/eu`` and ``far/us``, which a list of backends may also name together, as
``far``. They are taken apart before anything else is read, so that wherever else a policy has a
backend it has one endpoint.
"""

from __future__ import annotations

from collections.abc import Mapping

from gateway.policy.syntax.nodes import ListNode, MapEntry, MapNode, Node, ScalarNode
from gateway.policy.syntax.problems import Problem, join, problem_at

_KEY = "regions"


def without_regions(document: MapNode) -> tuple[MapNode, list[Problem]]:
    """The document with a backend for each endpoint, and what is wrong with those that have any."""
    section = document.entries.get("backends")
    if section is None or not isinstance(section.value, MapNode):
        return document, []
    problems: list[Problem] = []
    backends: dict[str, MapEntry] = {}
    apart: dict[str, list[str]] = {}
    for name, entry in section.value.entries.items():
        own = entry.value.entries.get(_KEY) if isinstance(entry.value, MapNode) else None
        if own is None:
            backends[name] = entry
            continue
        found = _endpoints(name, entry, own, section.value, problems)
        apart[name] = list(found)
        backends.update(found)
    if not apart:
        return document, problems
    entries = {
        **document.entries,
        "backends": MapEntry(section.mark, MapNode(section.value.mark, backends)),
    }
    for key, listing in (("models", "backends"), ("routes", "use")):
        if (named := entries.get(key)) is not None:
            entries[key] = MapEntry(named.mark, _each_named(named.value, listing, apart))
    return MapNode(document.mark, entries), problems


def _endpoints(
    name: str, entry: MapEntry, own: MapEntry, all_backends: MapNode, problems: list[Problem]
) -> dict[str, MapEntry]:
    path = join(join("backends", name), _KEY)
    assert isinstance(entry.value, MapNode)
    shared = {key: one for key, one in entry.value.entries.items() if key != _KEY}
    if not isinstance(own.value, MapNode) or not own.value.entries:
        message = "must be a mapping: region -> the keys of its endpoint, such as base_url"
        problems.append(problem_at(own.value.mark, path, message))
        return {}
    found: dict[str, MapEntry] = {}
    for region, one in own.value.entries.items():
        where = join(path, region)
        keys = one.value.entries if isinstance(one.value, MapNode) else None
        if keys is None:
            problems.append(problem_at(one.value.mark, where, "must be a mapping"))
            continue
        if "region" in keys or "region" in shared or f"{name}/{region}" in all_backends.entries:
            taken = "region" if "region" in keys or "region" in shared else f"{name}/{region}"
            message = f"it is the backend {name}/{region} in that region; leave out {taken}"
            problems.append(problem_at(one.mark, where, message))
            continue
        named = MapEntry(one.mark, ScalarNode(one.mark, region, plain=False))
        merged = {**shared, **keys, "region": named}
        found[f"{name}/{region}"] = MapEntry(one.mark, MapNode(entry.value.mark, merged))
    return found


def _each_named(node: Node, listing: str, apart: Mapping[str, list[str]]) -> Node:
    """With its endpoints for each backend that one of the lists names."""
    if isinstance(node, ListNode):
        return ListNode(node.mark, tuple(_one_named(one, listing, apart) for one in node.items))
    if isinstance(node, MapNode):
        return MapNode(
            node.mark,
            {
                key: MapEntry(one.mark, _one_named(one.value, listing, apart))
                for key, one in node.entries.items()
            },
        )
    return node


def _one_named(node: Node, listing: str, apart: Mapping[str, list[str]]) -> Node:
    entry = node.entries.get(listing) if isinstance(node, MapNode) else None
    if entry is None or not isinstance(node, MapNode):
        return node
    value = entry.value
    if not isinstance(value, ListNode):
        return node
    each = tuple(one for item in value.items for one in _with_endpoints(item, apart))
    kept = MapEntry(entry.mark, ListNode(value.mark, each))
    return MapNode(node.mark, {**node.entries, listing: kept})


def _with_endpoints(item: Node, apart: Mapping[str, list[str]]) -> list[Node]:
    names = apart.get(item.text) if isinstance(item, ScalarNode) else None
    if names is None:
        return [item]
    return [ScalarNode(item.mark, name, plain=False) for name in names]
