"""Which endpoint a path leads to.

A path without parameters is looked up. Of the others the first that fits is taken, in the order in
which they are given: ``{name}`` is one part of a path, ``{name:path}`` all that is left of it. A
pattern is compiled when a path first begins as it does: no start waits for some sixty of them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from starlette.types import ASGIApp, Receive, Scope, Send

_PARAMETER = re.compile(r"\{(\w+)(:path)?\}")


class RoutedPath:
    """An endpoint, and the paths that lead to it."""

    __slots__ = ("_begins", "_pattern", "endpoint", "is_exact", "path")

    def __init__(self, path: str, endpoint: ASGIApp) -> None:
        self.path = path
        self.endpoint = endpoint
        self._begins, parameter, _ = path.partition("{")
        self.is_exact = not parameter
        self._pattern: re.Pattern[str] | None = None

    def parameters(self, path: str) -> Mapping[str, str] | None:
        """Those of a path that leads here; None of another."""
        if not path.startswith(self._begins):
            return None
        if self._pattern is None:
            self._pattern = _compiled(self.path)
        found = self._pattern.fullmatch(path)
        return None if found is None else found.groupdict()


def _compiled(path: str) -> re.Pattern[str]:
    pieces = _PARAMETER.split(path)
    pattern = re.escape(pieces[0])
    for name, rest, text in zip(pieces[1::3], pieces[2::3], pieces[3::3], strict=True):
        pattern += f"(?P<{name}>{'.*' if rest else '[^/]+'}){re.escape(text)}"
    return re.compile(pattern)


class Paths:
    """Leads requests to the endpoints of ``routes``; what fits none, as in ``OPTIONS *``, to the
    last one's."""

    def __init__(self, routes: Sequence[RoutedPath]) -> None:
        self.exact = {route.path: route.endpoint for route in routes if route.is_exact}
        """The paths without parameters."""
        self._others = [route for route in routes if not route.is_exact]
        self._last = routes[-1].endpoint

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Of a path with parameters, which the endpoint finds in the scope."""
        endpoint = self._last
        for route in self._others:
            parameters = route.parameters(scope["path"])
            if parameters is not None:
                scope["path_params"], endpoint = parameters, route.endpoint
                break
        await endpoint(scope, receive, send)
