"""What a model developer writes: a Runtime with init, handlers and background handlers.

    app = Runtime("shout")

    @app.init
    def init():
        return {"suffix": "!"}

    @app.handler("/", warmup={"text": "hello"})
    def shout(context, request):
        return {"text": request.json["text"].upper() + context["suffix"]}

Decorators only record: nothing starts when the file is imported. The manner of ``init``,
``handler(context, request)`` and ``background`` is Potassium's
(https://github.com/bananaml/potassium).
"""

from __future__ import annotations

import inspect
import os
import threading
from collections.abc import Callable, Hashable, Sequence
from typing import Any, Protocol, TypeVar

import msgspec

from local_runtime.app.chats import ROUTE, as_chat
from local_runtime.app.declared import check_arguments, check_numbers, needs_parentheses
from local_runtime.app.inputs import InputType, input_of
from local_runtime.app.model_sizes import bytes_of, names_of
from local_runtime.app.request import Request
from local_runtime.app.store import HandlerStore, open_store

F = TypeVar("F", bound=Callable[..., Any])
S = TypeVar("S")
M = TypeVar("M", bound=Callable[..., "Stepper[Any]"])

DEFAULT_TIMEOUT_S = 600.0
ALL = "*"
"""In a handler's ``models``: every one that the app has."""


class Batch(msgspec.Struct, frozen=True, kw_only=True):
    """The handler takes a list of requests and returns as many results, in their order.

    Raises ValueError for a ``max_size`` below 1 and a ``max_wait_s`` below 0.
    """

    max_size: int = 8
    max_wait_s: float = 0.002
    """The longest a lone request waits for others on a free device, in seconds."""
    bucket: Callable[[Request], Hashable] | None = None
    """Only requests for which it returns equal keys run together: the padded length, say. It is
    called once a request, outside the model's thread, so it must be quick and share nothing with
    handlers; where it raises, that request alone fails."""

    def __post_init__(self) -> None:
        if self.max_size < 1 or not self.max_wait_s >= 0:
            raise ValueError("a batch has a max_size of at least 1 and a max_wait_s of at least 0")


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """What one step did for one sequence."""

    items: Sequence[Any] = ()
    """What it says now: each is one event of a stream, in this order."""
    done: bool = False
    """It has ended, and takes part in no further step."""
    result: Any = None
    """With ``done``: the answer of a caller who takes it whole; None: the list of all its items.
    A caller who takes a stream is given it only where there were no items."""
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    """Of the whole sequence up to here; None: as it was. They are reported however it ends."""


class Stepper(Protocol[S]):
    """A model that advances many sequences together, one step at a time; sequences come and go
    between two steps (Orca's iteration-level scheduling,
    https://www.usenix.org/conference/osdi22/presentation/yu).

    Made once in each worker, with the context; of a route with models, with the context and a
    model, after each load of it. Everything is called in the model's thread, one call at a time,
    and none may be a coroutine.
    """

    def admit(self, request: Request) -> S:
        """The state of a new sequence: any object. What it raises refuses this call alone."""
        ...

    def step(self, states: list[S]) -> Sequence[Step | Exception | None]:
        """Advances each of 1 to ``max_size`` sequences; as many outcomes, in their order. None: it
        goes on and says nothing; an exception fails that sequence alone. When ``step`` itself
        raises, all that took part fail, unless ``retry`` was declared; later ones do not."""
        ...

    def evict(self, state: S) -> None:
        """Frees what the state holds: once for each that was admitted, however it ended."""
        ...


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """One of the models that share a worker's memory, as recorded."""

    name: str
    load: Callable[[dict[str, Any]], Any]
    memory: int | None = None
    """Bytes; None: whoever starts the workers says it."""
    pin: bool = False
    unload: Callable[[Any], Any] | None = None
    timeout_s: float = DEFAULT_TIMEOUT_S


class Handler(msgspec.Struct, frozen=True, kw_only=True):
    """One route of an app, as recorded."""

    route: str
    function: Callable[..., Any]
    batch: Batch | None = None
    timeout_s: float = DEFAULT_TIMEOUT_S
    concurrency: int = 1
    warmup: Any = None
    background: bool = False
    stepper: bool = False
    """``function`` makes a Stepper of the context, or of the context and a model; ``concurrency``
    bounds its sequences, of each model, over all routes that have this function."""
    retry: bool = False
    """A step that raised may be tried again, each sequence alone."""
    models: tuple[str, ...] = ()
    """Each call needs one of these in memory, and the function is given it; ALL: any."""
    input: InputType | None = None
    """What its requests are held to; None: any JSON."""

    def takes(self, model: str) -> bool:
        """Its calls may name this model."""
        return ALL in self.models or model in self.models

    @property
    def exclusive(self) -> bool:
        """It occupies the thread of the model from start to end: no other such handler runs."""
        function = self.function
        return not self.stepper and not (
            inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)
        )

    @property
    def slots(self) -> int:
        """Calls that it runs at once."""
        return self.concurrency * (self.batch.max_size if self.batch else 1)


class Runtime:
    """The record of an app: its init and its handlers. Raises ValueError for a wrong one."""

    says_started: bool = False
    """A background call is promised with 200 and ``{"started": true, "job_id": ...}``."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.init_function: Callable[[], Any] | None = None
        self.handlers: dict[str, Handler] = {}
        self.models: dict[str, Model] = {}
        self._store: HandlerStore | None = None
        self._opening = threading.Lock()

    def __repr__(self) -> str:
        return f"Runtime({self.name!r}, routes={list(self.handlers)})"

    @property
    def store(self) -> HandlerStore:
        """Values that handlers keep for a time: see ``local_runtime.app.store``. Opened when it is
        first used; raises ValueError for a SPILLGATE_STORE that names none."""
        with self._opening:
            if self._store is None:
                self._store = open_store(os.environ.get("SPILLGATE_STORE", "memory://"))
            return self._store

    def init(self, function: F) -> F:
        """Records the function, sync or async, that loads the model once in each worker and
        returns the context that every handler is given: a dict. Raises ValueError for a second
        one."""
        if self.init_function is not None:
            raise ValueError(f"{self.name} has two init functions")
        if not callable(function):
            raise ValueError("init is a decorator: write @app.init, without parentheses")
        check_arguments(function, 0)
        self.init_function = function
        return function

    def model(
        self,
        name: str,
        *,
        memory: int | str | None = None,
        pin: bool = False,
        unload: Callable[[Any], Any] | None = None,
        timeout: float = DEFAULT_TIMEOUT_S,
    ) -> Callable[[F], F]:
        """Records ``function(context)``, which returns a model: one of several that share a
        worker's memory, loaded when a call needs it.

        ``memory`` is what it occupies, such as ``"4GiB"``; left out, whoever starts the workers
        says it. A model with ``pin`` is loaded at the start and stays. ``unload(model)`` frees
        what dropping it does not. A plain loader runs in a thread beside the model's; an
        ``async def`` in the model's own. One that takes longer than ``timeout`` seconds ends the
        worker. Raises ValueError for a name that is taken or none, and for a size or time-out that
        is none.
        """
        size = None if memory is None else bytes_of(memory)
        if not name or name == ALL or name in self.models:
            raise ValueError(f"{self.name}: {name!r} is no name for a model, or is one already")
        if not timeout > 0:
            raise ValueError(f"{name}: timeout must be above 0")

        def record(function: F) -> F:
            self.models[name] = Model(
                name=name, load=function, memory=size, pin=pin, unload=unload, timeout_s=timeout
            )
            return function

        return record

    def handler(
        self,
        route: str = "/",
        *,
        batch: Batch | None = None,
        timeout: float = DEFAULT_TIMEOUT_S,
        concurrency: int = 1,
        warmup: Any = None,
        models: str | Sequence[str] = (),
    ) -> Callable[[F], F]:
        """Records ``function(context, request)`` for a route; with ``models``, one name or several
        or ``"*"``, it is ``function(context, request, model)``, given the one that the call names.

        It may be sync, async, or a generator of either sort (a stream), and may return a
        generator. ``timeout`` in seconds is for one run; ``concurrency`` is how many runs of an
        async handler may be under way at once; ``warmup`` is a sample request that is really run
        before the worker takes calls. The decorator raises ValueError for a route that is taken
        or begins with no slash, and for settings that do not go together.
        """

        needs_parentheses("handler", route)

        def record(function: F) -> F:
            check_arguments(function, 3 if models else 2)
            self._add(
                Handler(
                    route=route,
                    function=function,
                    batch=batch,
                    timeout_s=timeout,
                    concurrency=concurrency,
                    warmup=warmup,
                    models=names_of(models),
                )
            )
            return function

        return record

    def chat(
        self, *, timeout: float = DEFAULT_TIMEOUT_S, concurrency: int = 1, warmup: Any = None
    ) -> Callable[[F], F]:
        """Records ``function(context, request)``, which yields words or returns a text, for
        OpenAI's chat: a caller who streams is given each as a chunk of a completion, any other the
        whole one. The rest as for ``handler``."""

        def record(function: F) -> F:
            check_arguments(function, 2)
            add = self.handler(ROUTE, timeout=timeout, concurrency=concurrency, warmup=warmup)
            add(as_chat(function))
            return function

        return record

    def stepper(
        self,
        route: str = "/",
        *,
        max_size: int = 8,
        retry: bool = False,
        timeout: float = DEFAULT_TIMEOUT_S,
        warmup: Any = None,
        models: str | Sequence[str] = (),
    ) -> Callable[[M], M]:
        """Records a class, made with the context, whose instance is a ``Stepper``: continuous
        batching. With ``models``, as for ``handler``, one is made of each, with ``(context,
        model)``, and dropped before that model goes.

        At most ``max_size`` sequences (of a model) are under way; others wait in their order.
        Recorded for several routes, with one ``max_size`` and ``retry``, it is one stepper, and
        their sequences advance together.
        ``retry`` declares that a step that raises leaves every state as it was: then each sequence
        is stepped once more, alone, and only those that raise again fail. ``timeout`` and
        ``warmup`` as for ``handler``; the sample is run alone, and ``max_size`` times at once.
        """

        needs_parentheses("stepper", route)

        def record(make: M) -> M:
            self._add(
                Handler(
                    route=route,
                    function=make,
                    timeout_s=timeout,
                    concurrency=max_size,
                    warmup=warmup,
                    stepper=True,
                    retry=retry,
                    models=names_of(models),
                )
            )
            return make

        return record

    def background(
        self,
        route: str = "/",
        *,
        timeout: float = DEFAULT_TIMEOUT_S,
        warmup: Any = None,
        models: str | Sequence[str] = (),
    ) -> Callable[[F], F]:
        """Records a handler whose caller is answered ``{"job_id": ...}`` at once; the result is
        sent by POST to the request's ``webhook`` (http or https) when it has one. ``models`` as
        for ``handler``."""
        needs_parentheses("background", route)

        def record(function: F) -> F:
            check_arguments(function, 3 if models else 2)
            self._add(
                Handler(
                    route=route,
                    function=function,
                    timeout_s=timeout,
                    warmup=warmup,
                    background=True,
                    models=names_of(models),
                )
            )
            return function

        return record

    def _add(self, handler: Handler) -> None:
        if not handler.route.startswith("/"):
            raise ValueError(f"a route begins with a slash: {handler.route!r}")
        if handler.route in self.handlers:
            raise ValueError(f"{self.name} has two handlers for {handler.route}")
        check_numbers(handler.function, timeout=handler.timeout_s, concurrency=handler.concurrency)
        if handler.concurrency < 1 or not handler.timeout_s > 0:
            raise ValueError(f"{handler.route}: concurrency and timeout must be above 0")
        for other in self.handlers.values():
            same = other.stepper and other.function is handler.function
            if same and _shared_settings(other) != _shared_settings(handler):
                raise ValueError(f"{handler.route} and {other.route} are one stepper: alike in all")
        if handler.models and handler.warmup is not None:
            raise ValueError(f"{handler.route}: let each model's loader run the sample")
        if handler.concurrency > 1 and handler.exclusive:
            raise ValueError(f"{handler.route}: only an async handler can run several at once")
        typed = input_of(handler.function)
        self.handlers[handler.route] = msgspec.structs.replace(handler, input=typed)


def _shared_settings(handler: Handler) -> tuple[bool, int, bool, bool]:
    return (handler.stepper, handler.concurrency, handler.retry, bool(handler.models))
