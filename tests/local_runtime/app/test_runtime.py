"""What an app may declare, and what is refused while its author still looks."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from local_runtime import Batch, Request, Response, Runtime, Step


def test_decorators_record_and_leave_the_functions_as_they_are() -> None:
    """They can still be called by a test, or by another runtime."""
    app = Runtime("demo")

    @app.init
    def init() -> dict[str, Any]:
        return {"weights": 1}

    @app.handler("/", timeout=5, warmup={"x": 1})
    def handler(context: dict[str, Any], request: Request) -> Any:
        return context["weights"] + request.json

    assert app.init_function is init
    assert handler(init(), Request(json=2)) == 3
    recorded = app.handlers["/"]
    assert (recorded.timeout_s, recorded.warmup, recorded.background) == (5, {"x": 1}, False)
    assert repr(app) == "Runtime('demo', routes=['/'])"


def test_the_slots_of_a_handler_are_its_runs_times_its_batch() -> None:
    """What the router is told."""
    app = Runtime("demo")

    @app.handler("/batch", batch=Batch(max_size=16))
    def together(context: Any, requests: list[Request]) -> Any: ...

    @app.handler("/stream", concurrency=3)
    async def stream(context: Any, request: Request) -> AsyncIterator[Any]:
        yield 1

    assert [handler.slots for handler in app.handlers.values()] == [16, 3]


def test_models_are_recorded_with_their_size_in_bytes() -> None:
    """A loader may serve for several, and a handler take one, some or all."""
    app = Runtime("demo")

    def load(context: dict[str, Any]) -> str:
        return "weights"

    for name, memory in (("a", "4GiB"), ("b", None)):
        app.model(name, memory=memory, pin=name == "a")(load)

    @app.handler("/one", models="a")
    def one(context: Any, request: Request, model: str) -> Any: ...

    @app.handler("/any", models="*")
    def whichever(context: Any, request: Request, model: str) -> Any: ...

    recorded = [(model.memory, model.pin, model.load) for model in app.models.values()]
    assert recorded == [(4 << 30, True, load), (None, False, load)]
    assert [app.handlers["/one"].takes(name) for name in ("a", "b")] == [True, False]
    assert [app.handlers["/any"].takes(name) for name in ("a", "b")] == [True, True]


def test_a_model_that_cannot_be_meant_is_refused() -> None:
    app = Runtime("demo")
    app.model("a")(lambda context: None)
    for wrong in ("a", "", "*"):
        with pytest.raises(ValueError, match="is no name for a model"):
            app.model(wrong)
    with pytest.raises(ValueError, match="is not a size"):
        app.model("b", memory="big")
    for timeout in (0, float("nan")):
        with pytest.raises(ValueError, match="timeout"):
            app.model("b", timeout=timeout)
    with pytest.raises(ValueError, match="loader run the sample"):
        app.handler("/", models="a", warmup=1)(lambda context, request, model: None)


class Echo:
    """A stepper that ends each sequence at once."""

    def __init__(self, context: dict[str, Any]) -> None:
        self.context = context

    def admit(self, request: Request) -> Request:
        return request

    def step(self, states: list[Request]) -> list[Step]:
        return [Step(done=True, result=state.json) for state in states]

    def evict(self, state: Request) -> None: ...


def test_a_stepper_is_a_class_that_may_be_recorded_for_several_routes() -> None:
    """And is left as it is; its sequences are its slots."""
    app = Runtime("demo")
    app.stepper("/a", max_size=3, retry=True)(Echo)
    recorded = app.stepper("/b", max_size=3, retry=True, timeout=5)(Echo)
    assert recorded is Echo
    assert [handler.slots for handler in app.handlers.values()] == [3, 3]
    assert not app.handlers["/a"].exclusive
    assert Echo({}).step([Request(json=1)])[0].result == 1


@pytest.mark.parametrize("other", [{"max_size": 4}, {"max_size": 3, "retry": True}])
def test_one_stepper_with_two_bounds_is_refused(other: dict[str, Any]) -> None:
    """It is one company of sequences."""
    app = Runtime("demo")
    app.stepper("/a", max_size=3)(Echo)
    with pytest.raises(ValueError, match="/b and /a are one stepper"):
        app.stepper("/b", **other)(Echo)


def test_two_handlers_for_one_route_are_refused() -> None:
    """The second would silently win."""
    app = Runtime("demo")
    app.handler("/")(print)
    with pytest.raises(ValueError, match="two handlers for /"):
        app.background("/")(print)


def test_two_inits_are_refused() -> None:
    """For the same reason."""
    app = Runtime("demo")
    app.init(dict)
    with pytest.raises(ValueError, match="two init functions"):
        app.init(dict)


@pytest.mark.parametrize(
    ("route", "options", "words"),
    [
        ("v1", {}, "begins with a slash"),
        ("/", {"concurrency": 2}, "only an async handler"),
        ("/", {"concurrency": 0}, "above 0"),
        ("/", {"timeout": 0}, "above 0"),
    ],
)
def test_a_handler_that_cannot_work_is_refused(
    route: str, options: dict[str, Any], words: str
) -> None:
    """At import, with its route."""
    with pytest.raises(ValueError, match=words):
        Runtime("demo").handler(route, **options)(lambda context, request: None)


@pytest.mark.parametrize(
    "options", [{"max_size": 0}, {"max_wait_s": -1}, {"max_wait_s": float("nan")}]
)
def test_a_batch_that_cannot_be_is_refused(options: dict[str, Any]) -> None:
    """Nothing would ever leave."""
    with pytest.raises(ValueError, match="max_size of at least 1"):
        Batch(**options)


def test_a_response_that_no_server_could_send_is_refused_where_it_is_made() -> None:
    """In the handler, with a line number, and not on the way out."""
    with pytest.raises(ValueError, match="not both"):
        Response(json=1, body=b"1")
    with pytest.raises(ValueError, match="700"):
        Response(json=1, status=700)
    with pytest.raises(TypeError, match="bytes"):
        Response(body="text")  # type: ignore[arg-type]
