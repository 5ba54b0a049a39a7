"""Which route a call takes: the policy's conditions, compiled once, answered for every call.

What a call has few values of (model, task, plan, priority, stream) is looked up in a table that
fills itself; only what is left of a route's conditions is asked anew. Pure: no clock, no I/O.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from adapters.types import ModelTask
from gateway.policy.model import Policy, Route, When
from gateway.types import Priority

MAX_REMEMBERED = 4096

Rest = Callable[[str, Mapping[str, str], int, Callable[[], float]], bool]
"""(user, tags, body bytes, requests per day) -> whether they meet what is left."""

COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
}


def compile_routes(policy: Policy) -> Matcher:
    """The policy's routes, ready to be asked."""
    return Matcher(policy.routes)


class Matcher:
    """The routes of one policy, of which the last matches every call."""

    def __init__(self, routes: Sequence[Route]) -> None:
        self._routes = tuple((route, _rest(route.when)) for route in routes)
        self._remembered: dict[tuple[Any, ...], tuple[tuple[Route, Rest | None], ...]] = {}

    def match(
        self,
        model: str,
        task: ModelTask,
        user: str,
        plan: str,
        priority: Priority,
        tags: Mapping[str, str],
        stream: bool,
        body_bytes: int,
        requests_per_day: Callable[[], float],
    ) -> Route:
        """The first route whose conditions all hold.

        ``requests_per_day`` is called only when a route asks and its other conditions hold.
        Raises LookupError when no route matches; a policy that was read has one that does.
        """
        key = (model, task, plan, priority, stream)
        for route, rest in self._remembered.get(key) or self._remember(key):
            if rest is None or rest(user, tags, body_bytes, requests_per_day):
                return route
        raise LookupError("no route matches; the last one should have no conditions")

    def possible(
        self, model: str, task: ModelTask, user: str, plan: str, tags: Mapping[str, str] | None
    ) -> Iterator[Route]:
        """The routes that some call of the model may take, whatever else it asks for; ``tags`` are
        those that it has, None where it may have any."""
        for route, _ in self._routes:
            when = route.when
            pairs = ((when.model, model), (when.task, task), (when.user, user), (when.plan, plan))
            if any(asked is not None and value not in choices(asked) for asked, value in pairs):
                continue
            wanted = when.tags or {}
            if tags is not None and any(tags.get(name) != wanted[name] for name in wanted):
                continue
            yield route
            if not (wanted and tags is None) and _takes_all(when):
                return

    def _remember(self, key: tuple[Any, ...]) -> tuple[tuple[Route, Rest | None], ...]:
        if len(self._remembered) >= MAX_REMEMBERED:
            self._remembered.clear()
        left: list[tuple[Route, Rest | None]] = []
        for route, rest in self._routes:
            if _fits(route.when, *key):
                left.append((route, rest))
                if rest is None:
                    break
        self._remembered[key] = tuple(left)
        return self._remembered[key]


def choices(condition: Any) -> tuple[Any, ...]:
    """One value or several, as several."""
    return condition if isinstance(condition, tuple) else (condition,)


def _fits(when: When, model: str, task: str, plan: str, priority: str, stream: bool) -> bool:
    pairs = ((when.model, model), (when.task, task), (when.plan, plan), (when.priority, priority))
    if when.stream is not None and when.stream != stream:
        return False
    return all(asked is None or value in choices(asked) for asked, value in pairs)


def _takes_all(when: When) -> bool:
    """Whether it does not matter what a call asks for beside its model, nor how much there is."""
    others = (when.priority, when.stream, when.body, when.requests_per_day)
    return all(one is None for one in others)


def _rest(when: When) -> Rest | None:
    """What must be asked for each call, cheapest first; None when nothing is left."""
    tests = [
        *([] if when.user is None else [_user_is(frozenset(choices(when.user)))]),
        *(_tag_is(name, value) for name, value in (when.tags or {}).items()),
        *([] if when.body is None else [_body_is(*when.body)]),
        *([] if when.requests_per_day is None else [_volume_is(*when.requests_per_day)]),
    ]
    if len(tests) < 2:
        return tests[0] if tests else None
    return _all_of(tuple(tests))


def _user_is(users: frozenset[str]) -> Rest:
    return lambda user, tags, size, volume: user in users


def _tag_is(name: str, value: str) -> Rest:
    return lambda user, tags, size, volume: tags.get(name) == value


def _body_is(sign: str, bound: float) -> Rest:
    compare = COMPARISONS[sign]
    return lambda user, tags, size, volume: compare(size, bound)


def _volume_is(sign: str, bound: float) -> Rest:
    compare = COMPARISONS[sign]
    return lambda user, tags, size, volume: compare(volume(), bound)


def _all_of(tests: tuple[Rest, ...]) -> Rest:
    def rest(user: str, tags: Mapping[str, str], size: int, volume: Callable[[], float]) -> bool:
        for test in tests:  # noqa: SIM110 - a generator in all() costs twice this loop
            if not test(user, tags, size, volume):
                return False
        return True

    return rest
