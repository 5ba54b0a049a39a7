"""Who holds how many of the listener's connections, who makes way first, and who may have more.

Descriptors are shared as memory is. A holder is a key, or, as long as none was shown, an address.
One that is greedy may have ``SHARE`` times as many as he leaves: alone he gets most of the room,
and whoever comes next still finds some. What rests counts for nobody, for it makes way. Pure.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping
from itertools import count
from typing import Generic, NamedTuple, TypeVar

SHARE = 4
FRESH_S = 1.0
"""What has rested for less may go on in the next instant, and goes after what has not."""

Held = TypeVar("Held")


class AtRest(NamedTuple, Generic[Held]):
    """A connection on which nothing is done for anybody."""

    connection: Held
    holder: str
    is_known: bool
    """A key was shown on it."""
    since: float
    """By the loop's clock."""


def may_have(busy: Mapping[str, int], holder: str, room: int) -> bool:
    """Whether ``busy``, the descriptors by holder with the one that is asked for, fit into ``room``
    and leave what they have to."""
    return busy.get(holder, 0) <= SHARE * (room - sum(busy.values()))


def first_to_go(resting: Iterable[AtRest[Held]], most: int, now: float) -> list[AtRest[Held]]:
    """Those who have shown no key before those who have, what rests for long before what is fresh;
    of these always one of whoever has most of them, his oldest."""
    classes: dict[tuple[bool, bool], dict[str, list[AtRest[Held]]]] = {}
    for one in resting:
        kind = (one.is_known, now - one.since < FRESH_S)
        classes.setdefault(kind, {}).setdefault(one.holder, []).append(one)
    found: list[AtRest[Held]] = []
    for kind in sorted(classes):
        _take_in_turn(classes[kind].values(), most, found)
    return found


def _take_in_turn(
    groups: Iterable[list[AtRest[Held]]], most: int, found: list[AtRest[Held]]
) -> None:
    order = count()
    largest = []
    for group in groups:
        group.sort(key=lambda one: one.since, reverse=True)
        largest.append((-len(group), next(order), group))
    heapq.heapify(largest)
    while largest and len(found) < most:
        _, place, group = largest[0]
        found.append(group.pop())
        if group:
            heapq.heapreplace(largest, (-len(group), place, group))
        else:
            heapq.heappop(largest)
