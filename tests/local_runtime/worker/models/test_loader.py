"""How models come and go, in a thread beside the model's, and what a start needs of them."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from typing import Any

import pytest

from local_runtime import Runtime
from local_runtime.app.model_sizes import ModelSizes
from local_runtime.worker.models.cache import LoadModel, UnloadModel
from local_runtime.worker.models.loader import LoadFailed, ModelLoader
from local_runtime.worker.startup import StartFailed, cache_of, load_pinned


class Weights:
    """Something in a cycle, as modules with hooks are: only the collector frees it."""

    def __init__(self) -> None:
        self.me = self


class Reports:
    """Keeps what is reported of loads."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.queue: asyncio.Queue[tuple[str, float | str]] = asyncio.Queue()

    def loaded(self, name: str, seconds: float) -> None:
        self.loop.call_soon_threadsafe(self.queue.put_nowait, (name, seconds))

    def load_failed(self, name: str, message: str) -> None:
        self.loop.call_soon_threadsafe(self.queue.put_nowait, (name, message))


def clock_of(*instants: float) -> Any:
    return iter(instants).__next__


async def test_a_plain_loader_runs_beside_the_models_thread_and_an_async_one_in_it() -> None:
    app, threads, reports = Runtime("demo"), [], Reports()

    @app.model("plain", memory=1)
    def plain(context: dict[str, Any]) -> Weights:
        threads.append(threading.current_thread())
        return Weights()

    @app.model("gentle", memory=1)
    async def gentle(context: dict[str, Any]) -> Any:
        threads.append(threading.current_thread())
        return context["k"]

    loader = ModelLoader(app, {"k": 7}, reports, clock_of(0.0, 2.5, 3.0, 4.0))
    loader.begin([LoadModel("plain")])
    assert await reports.queue.get() == ("plain", 2.5)
    loader.begin([LoadModel("gentle")])
    assert await reports.queue.get() == ("gentle", 1.0)
    assert loader.models["gentle"] == 7
    assert threads[0] is not threading.current_thread()
    assert threads[1] is threading.current_thread()


async def test_what_goes_is_told_dropped_and_collected_before_the_next_comes() -> None:
    app, reports, unloaded = Runtime("demo"), Reports(), list[str]()
    alive: list[bool] = []
    refs: list[weakref.ref[Weights]] = []

    def bad(model: Weights) -> None:
        unloaded.append(type(model).__name__)
        raise RuntimeError("its own mistake")

    @app.model("old", memory=1, unload=bad)
    def old(context: dict[str, Any]) -> Weights:
        weights = Weights()
        refs.append(weakref.ref(weights))
        return weights

    @app.model("new", memory=1)
    def new(context: dict[str, Any]) -> str:
        alive.append(refs[0]() is not None)
        return "new"

    loader = ModelLoader(app, {}, reports)
    gc.disable()
    try:
        await loader.load("old")
        loader.begin([UnloadModel("old"), LoadModel("new")])
        assert (await reports.queue.get())[0] == "new"
    finally:
        gc.enable()
    assert (unloaded, alive, loader.models) == (["Weights"], [False], {"new": "new"})


@pytest.mark.parametrize("error", [ValueError, SystemExit, BaseException])
async def test_a_loader_that_raises_is_told_by_the_name_of_the_exception_alone(
    error: type[BaseException], capfd: pytest.CaptureFixture[str]
) -> None:
    """Its words and the traceback are in the log; nothing ends the thread without a word."""
    app, reports = Runtime("demo"), Reports()

    @app.model("a", memory=1)
    def load(context: dict[str, Any]) -> None:
        raise error("a secret of the loader")

    loader = ModelLoader(app, {}, reports)
    loader.begin([LoadModel("a")])
    name = error.__name__
    assert await reports.queue.get() == ("a", f"the model a could not be loaded ({name})")
    with pytest.raises(LoadFailed, match=rf"\({name}\)"):
        await loader.load("a")
    assert "a secret of the loader" in capfd.readouterr().err


def declared_app() -> Runtime:
    app = Runtime("demo")
    app.model("a", memory=4)(lambda context: "a")
    app.model("b", pin=True)(lambda context: "b")
    app.handler("/", models="*")(lambda context, request, model: None)
    return app


async def test_pinned_models_are_loaded_by_the_start() -> None:
    """What whoever starts the worker says counts before the app's own word."""
    app = declared_app()
    given = {"a": ModelSizes(memory=3, pin=True), "b": ModelSizes(memory=2)}
    cache, loader = cache_of(app, given, 5), ModelLoader(app, {}, Reports())
    await load_pinned(cache, loader)
    assert loader.models == {"a": "a"}
    assert (cache.taken, cache.acquire("a"), cache.acquire("b")) == (3, True, False)


@pytest.mark.parametrize(
    ("given", "capacity", "words"),
    [
        ({}, None, "neither the app nor the policy says how large the model b is"),
        ({"c": ModelSizes(memory=1)}, None, "the app has no model 'c'"),
        ({"b": ModelSizes(memory=9)}, 8, "the model b: 9 B cannot fit in a memory of 8 B"),
    ],
)
def test_models_that_can_never_be_served_end_the_start_for_good(
    given: dict[str, ModelSizes], capacity: int | None, words: str
) -> None:
    with pytest.raises(StartFailed) as caught:
        cache_of(declared_app(), given, capacity)
    assert (caught.value.broken.message, caught.value.broken.permanent) == (words, True)


def test_a_handler_of_a_model_that_there_is_not_ends_the_start_for_good() -> None:
    app = Runtime("demo")
    app.handler("/", models="a")(lambda context, request, model: None)
    with pytest.raises(StartFailed, match="the app has no model 'a'"):
        cache_of(app, {}, None)


async def test_a_pinned_model_that_cannot_be_loaded_fails_the_start() -> None:
    """Which is tried again: a disk or a network may come back."""
    app = Runtime("demo")
    app.model("a", memory=1, pin=True)(lambda context: context["weights"])
    with pytest.raises(StartFailed, match=r"a could not be loaded \(KeyError\)") as caught:
        await load_pinned(cache_of(app, {}, None), ModelLoader(app, {}, Reports()))
    assert not caught.value.broken.permanent
