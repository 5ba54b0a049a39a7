"""Which endpoint a path leads to."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

import pytest

from gateway.api.paths import Paths, Route


class Named:
    """Tells of itself, and of what it was given."""

    def __init__(self, name: str) -> None:
        self.name = name

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        await send({"name": self.name, "given": scope.get("path_params")})


PATHS = Paths(
    [
        Route("/usage/calls", Named("calls")),
        Route("/models/{model:path}/{part}", Named("part")),
        Route("/models/{model:path}", Named("model")),
        Route("/keys/{key}", Named("key")),
        Route("/keys/{key}/rotate", Named("rotate")),
        Route("/a.b/{x}", Named("dotted")),
        Route("/{path:path}", Named("all")),
    ]
)


@pytest.mark.parametrize(
    ("path", "name", "given"),
    [
        ("/models/org/small", "part", {"model": "org", "part": "small"}),
        ("/models/small", "model", {"model": "small"}),
        ("/models/", "model", {"model": ""}),
        ("/keys/k1", "key", {"key": "k1"}),
        ("/keys/k1/rotate", "rotate", {"key": "k1"}),
        ("/keys/", "all", {"path": "keys/"}),
        ("/keys/k1/rotate/", "all", {"path": "keys/k1/rotate/"}),
        ("/a.b/1", "dotted", {"x": "1"}),
        ("/aXb/1", "all", {"path": "aXb/1"}),
        ("/", "all", {"path": ""}),
        ("*", "all", None),
        ("/keys/a\nb", "key", {"key": "a\nb"}),
        ("/models/a\nb", "all", None),
    ],
)
async def test_the_first_route_that_fits_takes_a_path(
    path: str, name: str, given: dict[str, str] | None
) -> None:
    said: list[Any] = []

    async def send(message: Any) -> None:
        said.append(message)

    await PATHS({"type": "http", "path": path}, None, send)  # type: ignore[arg-type]
    assert said == [{"name": name, "given": given}]


def test_a_path_without_parameters_is_looked_up() -> None:
    assert list(PATHS.exact) == ["/usage/calls"]
