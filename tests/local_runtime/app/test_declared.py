"""What is declared wrongly is told with the line at which it stands, before anything is loaded."""

from __future__ import annotations

from typing import Any

import pytest

from local_runtime import Batch, Runtime

HERE = r"test_declared\.py:\d+\)"


def test_a_decorator_without_its_parentheses() -> None:
    app = Runtime("a")
    for decorator in (app.handler, app.background, app.stepper):
        with pytest.raises(ValueError, match=rf"greet \(.*{HERE}: write @app\.\w+\(\"/\"\)"):

            @decorator  # type: ignore[arg-type]
            def greet(context: Any, request: Any) -> Any: ...


def test_a_handler_with_one_argument() -> None:
    app = Runtime("a")
    with pytest.raises(ValueError, match=rf"greet \(.*{HERE}: a handler takes \(context, request"):

        @app.handler("/")
        def greet(request: Any) -> Any: ...

    with pytest.raises(ValueError, match=r"with models= takes \(context, request, model\)"):

        @app.handler("/", models="m")
        def other(context: Any, request: Any) -> Any: ...


def test_an_init_that_wants_something() -> None:
    with pytest.raises(ValueError, match=rf"init \(.*{HERE}: init takes no arguments"):

        @Runtime("a").init
        def init(device: str) -> Any: ...


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"timeout": "30s"}, "timeout is a number of seconds, found '30s'"),
        ({"concurrency": "4"}, "concurrency is a number, found '4'"),
        ({"timeout": True}, "timeout is a number of seconds, found True"),
    ],
    ids=["time-out", "concurrency", "boolean"],
)
def test_a_setting_that_is_no_number(settings: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=rf"greet \(.*{HERE}: {told}"):

        @Runtime("a").handler("/", **settings)
        async def greet(context: Any, request: Any) -> Any: ...


def test_what_is_declared_well_is_taken() -> None:
    """Methods, partial functions, defaults and lists of requests too."""
    app = Runtime("a")

    class Model:
        def answer(self, context: Any, request: Any, beside: int = 0) -> Any: ...

    app.handler("/method")(Model().answer)
    app.handler("/any")(lambda *given: given)
    app.handler("/batch", batch=Batch())(lambda context, requests: requests)
    app.init(dict)
    assert set(app.handlers) == {"/method", "/any", "/batch"}
