"""Potassium's face on this runtime: an app for Potassium 0.5 runs with its import line changed.

    from local_runtime.potassium import Potassium, Request, Response

    app = Potassium("shout")

    @app.init
    def init():
        return {"mark": "!"}

    @app.handler("/")
    def handler(context: dict, request: Request) -> Response:
        return Response(json={"text": request.json["text"].upper() + context["mark"]}, status=200)

    if __name__ == "__main__":
        app.serve()

The names and their arguments are Potassium's (https://github.com/bananaml/potassium, 0.5.0). What
is not here: its Flask test client (call the handlers as functions), and S3 as a store.

Potassium calls an app's functions where no event loop runs, so they may use clients that call
``asyncio.run``. The thread of a worker that imports an app has a loop, and what the import and
``init`` make may belong to that thread (a captured CUDA graph, the gradient mode of torch, a
connection of sqlite3, a signal's handler). So plain functions run there too, while its loop is
stopped: ``app.main_loop``.
"""

from __future__ import annotations

import contextvars
import functools
import inspect
import json as jsonlib
import os
import secrets
import sys
import urllib.parse
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

import msgspec

from local_runtime.app import runtime as api
from local_runtime.app.main_loop import call_without_loop
from local_runtime.app.request import Request as RuntimeRequest
from local_runtime.app.request import Response as RuntimeResponse
from local_runtime.app.store import DEFAULT_TTL_S, JSON, PICKLE, MemoryStore, RedisStore
from local_runtime.app.store import HandlerStore as AnyStore
from local_runtime.webhooks import Webhooks

__all__ = ["Potassium", "RedisConfig", "Request", "Response", "Store", "send_webhook"]

F = TypeVar("F", bound=Callable[..., Any])
CONTENT_TYPE = "text/html; charset=utf-8"
"""Of a body whose handler names none."""
_END = object()
Body = bytes | Generator[bytes, None, None] | None
Run = Callable[..., Awaitable[Any]]
"""(function, *arguments) -> what it returns where the app's plain functions run."""
Converter = Callable[[Any, Run], Any]
"""(what a handler returned, how to run its generator) -> what the runtime is given."""


class RequestHeaders:
    """The caller's headers; ``Content-Type`` and ``CONTENT_TYPE`` are one name."""

    def __init__(self, headers: Mapping[str, str]) -> None:
        self._headers = {_plain(name): value for name, value in headers.items()}

    def __getitem__(self, key: str) -> str:
        return self._headers[_plain(key)]

    def get(self, key: str, default: Any = None) -> Any:
        """The header's value, or ``default``."""
        return self._headers.get(_plain(key), default)


class Request:
    """What a handler is given. ``id`` is the caller's X-Banana-Request-Id, or one made for it.

    ``cancelled`` is more than Potassium has: True once nobody waits for the result, for a long
    handler to look at.
    """

    def __init__(
        self,
        id: str,
        headers: RequestHeaders,
        json: Any,
        is_cancelled: Callable[[], bool] = lambda: False,
    ) -> None:
        self.id = id
        self.headers = headers
        self.json = json
        self._is_cancelled = is_cancelled

    @property
    def cancelled(self) -> bool:
        """Nobody waits for the result any more."""
        return self._is_cancelled()


class Response:
    """What a handler returns: ``json``, or a ``body`` of bytes, whole or from a generator. Raises
    ValueError for both."""

    def __init__(
        self,
        status: int = 200,
        json: Any = None,
        headers: Mapping[str, str] | None = None,
        body: Body = None,
    ) -> None:
        if json is not None and body is not None:
            raise ValueError("a Response has a json or a body, not both")
        self.status = status
        self.headers = dict(headers or {})
        self.body = body
        if json is not None:
            self.json = json

    @property
    def json(self) -> Any:
        """The body as JSON; None where it is something else."""
        try:
            return jsonlib.loads(self.body) if isinstance(self.body, bytes) else None
        except ValueError:
            return None

    @json.setter
    def json(self, value: Any) -> None:
        self.body = jsonlib.dumps(value).encode()
        self.headers["Content-Type"] = "application/json"


class Potassium(api.Runtime):
    """An app. ``experimental_num_workers`` is the number of worker processes of ``serve``."""

    says_started = True

    def __init__(self, name: str, experimental_num_workers: int = 1) -> None:
        super().__init__(name)
        self.num_workers = experimental_num_workers

    def init(self, function: F) -> F:
        """Records the function that makes the context. One that takes an argument is given the
        number of its worker."""
        numbered = bool(inspect.signature(function).parameters)
        own = functools.partial(_numbered, function) if numbered else function

        @functools.wraps(function)
        def call() -> Any:
            return own() if inspect.iscoroutinefunction(function) else call_without_loop(own)

        super().init(call)
        return function

    def handler(self, route: str = "/", **options: Any) -> Callable[[F], F]:
        """Records ``function(context, request) -> Response`` for a route. ``options`` are those of
        ``Runtime.handler``, but for batches. Raises ValueError for one of those."""
        if options.get("batch") is not None:
            raise ValueError(
                "a handler of Potassium's takes one request; see local_runtime.Runtime"
            )
        return self._recorded(super().handler(_route(route), **options), _converted)

    def background(self, route: str = "/", **options: Any) -> Callable[[F], F]:
        """Records a function whose caller is answered at once; what it returns can be read at
        ``/_k/jobs/{job_id}``."""
        return self._recorded(super().background(_route(route), **options), _as_it_is)

    def serve(self, host: str = "127.0.0.1", port: int = 8000) -> None:
        """Serves the app until a signal ends it, then exits the process. Does nothing in a worker,
        which imports the same file. Potassium listens on every address; here ``0.0.0.0`` must be
        asked for."""
        if "SPILLGATE_WORKER" in os.environ:
            return
        from local_runtime.server.serve import Options, serve

        name = name_of(self, sys.modules["__main__"])
        sys.exit(serve(Options(app=name, host=host, port=port, workers=self.num_workers)))

    def _recorded(self, record: Callable[[Any], Any], convert: Converter) -> Callable[[F], F]:
        def decorate(function: F) -> F:
            record(_adapted(function, convert))
            return function

        return decorate


def name_of(app: Potassium, module: ModuleType) -> str:
    """``file.py:name``, by which a worker finds the app of the program that runs. Raises
    RuntimeError for an app that is no global of a file."""
    file = getattr(module, "__file__", None)
    names = [name for name, value in vars(module).items() if value is app]
    if file is None or not names:
        raise RuntimeError("app.serve() is for an app that is a global variable of a file")
    return f"{Path(file).resolve()}:{names[0]}"


def _numbered(function: Callable[[int], Any]) -> Any:
    return function(int(os.environ.get("SPILLGATE_WORKER", "0")))


async def _pieces(source: Generator[bytes, None, None], run: Run) -> AsyncGenerator[bytes, None]:
    """What the generator yields, which runs as its handler did."""
    try:
        while (piece := await run(next, source, _END)) is not _END:
            yield piece
    finally:
        await run(source.close)


def _adapted(function: Callable[..., Any], convert: Converter) -> Callable[..., Any]:
    """The function as the runtime calls it: plain or a coroutine function, as it was, since a plain
    one has the device for itself. What it returns is awaited in both cases."""

    async def result(context: Any, request: RuntimeRequest) -> Any:
        if inspect.iscoroutinefunction(function):
            value = await function(context, _request(request))
            return convert(value, _runner())
        run = _runner()
        return convert(await run(function, context, _request(request)), run)

    if inspect.iscoroutinefunction(function):
        return functools.wraps(function)(result)

    @functools.wraps(function)
    def plain(context: Any, request: RuntimeRequest) -> Any:
        return result(context, request)

    return plain


def _runner() -> Run:
    """Calls functions where no loop runs, all in one context: what a handler sets in a ContextVar
    its generator finds there."""
    return functools.partial(call_without_loop, contextvars.copy_context().run)


def _request(request: RuntimeRequest) -> Request:
    headers = RequestHeaders(request.headers)
    return Request(request.id, headers, request.json, lambda: request.cancelled)


def _converted(value: Any, run: Run) -> RuntimeResponse:
    if not isinstance(value, Response):
        raise TypeError(f"the handler returned a {type(value).__name__}, not a Response")
    body = b"" if value.body is None else value.body
    if not isinstance(body, bytes | Generator):
        raise TypeError(f"the body of a Response is bytes, not a {type(body).__name__}")
    headers = dict(value.headers)
    if RequestHeaders(headers).get("Content-Type") is None:
        headers["Content-Type"] = CONTENT_TYPE
    pieces = body if isinstance(body, bytes) else _pieces(body, run)
    return RuntimeResponse(status=value.status, headers=headers, body=pieces)


def _as_it_is(value: Any, run: Run) -> Any:
    return _converted(value, run) if isinstance(value, Response) else value


def _route(route: str) -> str:
    return route if route.startswith("/") else "/" + route


def _plain(name: str) -> str:
    return name.upper().replace("-", "_")


def send_webhook(url: str, json: Any) -> bool:
    """POSTs the JSON; four times at most, with pauses and a time-out, without following redirects,
    and into no private network that the environment does not allow. True when the receiver took it.
    Raises ValueError for a URL that is not http or https."""
    if urllib.parse.urlsplit(url).scheme not in ("http", "https"):
        raise ValueError(f"a webhook goes to an http or https URL, not to {url!r}")
    return Webhooks().deliver(url, f"msg_{secrets.token_hex(12)}", msgspec.json.encode(json))


# --- the store ------------------------------------------------------------------------------------


class RedisConfig:
    """Where a Redis server is, and how values are written there. ``encoding``: ``json``, or
    ``pickle``, with which whoever can write to that server can run code here. Raises ValueError for
    another."""

    def __init__(
        self,
        host: str,
        port: int,
        username: str | None = None,
        password: str | None = None,
        db: int = 0,
        encoding: str = "json",
    ) -> None:
        if encoding not in ("json", "pickle"):
            raise ValueError(f"an encoding is json or pickle, not {encoding!r}")
        self.host = host
        self.port = int(port)
        self.username = username
        self.password = password
        self.db = db
        self.encoding = encoding

    @property
    def url(self) -> str:
        """``redis://user:password@host:port/db``"""
        quote = functools.partial(urllib.parse.quote, safe="")
        user = f"{quote(self.username or '')}:{quote(self.password or '')}@"
        known = user if self.username or self.password else ""
        return f"redis://{known}{self.host}:{self.port}/{self.db}"


class Store:
    """Potassium's store: on Redis with a RedisConfig; without one in this process alone. Raises
    ValueError for a ``backend`` that is neither ``redis`` nor ``memory``, or lacks its config."""

    def __init__(self, backend: str | None = None, config: RedisConfig | None = None) -> None:
        backend = backend or ("memory" if config is None else "redis")
        if backend not in ("redis", "memory"):
            raise ValueError(f"a store's backend is redis or memory, not {backend!r}")
        if (backend == "redis") != isinstance(config, RedisConfig):
            raise ValueError("a store on redis needs config=RedisConfig(host=..., port=...)")
        self._store = _store_of(config)

    def get(self, key: str) -> Any:
        """The value, or None. Raises StoreUnavailable."""
        return self._store.get(key)

    def set(self, key: str, value: Any, ttl: float | None = DEFAULT_TTL_S) -> None:
        """Keeps the value for ``ttl`` seconds. Raises StoreUnavailable."""
        self._store.set(key, value, ttl)


def _store_of(config: RedisConfig | None) -> AnyStore:
    if config is None:
        return MemoryStore()
    codec = PICKLE if config.encoding == "pickle" else JSON
    return RedisStore(config.url, prefix="", codec=codec)
