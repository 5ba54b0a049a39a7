"""Arrows between names: circles, and how many storeys they stand in. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set

Arrow = tuple[str, str]
"""From whoever needs it to what is needed."""


def neighbours(nodes: Iterable[str], arrows: Iterable[Arrow]) -> dict[str, set[str]]:
    """What each node points at. An arrow to itself counts for nothing."""
    pointed: dict[str, set[str]] = {node: set() for node in nodes}
    for source, target in arrows:
        if source != target:
            pointed[source].add(target)
    return pointed


def circles(graph: Mapping[str, Set[str]]) -> list[tuple[str, ...]]:
    """Groups of two or more in which each can be reached from each, sorted."""
    return sorted(tuple(sorted(group)) for group in _components(graph) if len(group) > 1)


def storeys(graph: Mapping[str, Set[str]]) -> int:
    """How many nodes the longest chain of arrows has, a circle taken for one node."""
    height: dict[str, int] = {}
    for group in _components(graph):  # those that are pointed at come first
        below = {target for node in group for target in graph[node]} - set(group)
        tall = 1 + max((height[node] for node in below), default=0)
        height.update(dict.fromkeys(group, tall))
    return max(height.values(), default=0)


def _components(graph: Mapping[str, Set[str]]) -> list[list[str]]:
    """Strongly connected components, each after all that it points at (Kosaraju)."""
    pointing: dict[str, set[str]] = {node: set() for node in graph}
    for node, targets in graph.items():
        for target in targets:
            pointing[target].add(node)
    found: list[list[str]] = []
    seen: set[str] = set()
    for node in reversed(_in_order_of_ending(pointing)):
        if node not in seen:
            found.append(_reached(node, graph, seen))
    return found


def _in_order_of_ending(graph: Mapping[str, Set[str]]) -> list[str]:
    """The nodes as a walk into the depth leaves them for the last time."""
    order: list[str] = []
    seen: set[str] = set()
    for start in sorted(graph):
        stack = [(start, False)]
        while stack:
            node, is_left = stack.pop()
            if is_left:
                order.append(node)
            elif node not in seen:
                seen.add(node)
                stack.append((node, True))
                stack.extend((target, False) for target in sorted(graph[node]))
    return order


def _reached(start: str, graph: Mapping[str, Set[str]], seen: set[str]) -> list[str]:
    """What can be reached from ``start`` and was not before; all of it is ``seen`` then."""
    group, stack = [], [start]
    seen.add(start)
    while stack:
        node = stack.pop()
        group.append(node)
        new = graph[node] - seen
        seen |= new
        stack.extend(new)
    return group
