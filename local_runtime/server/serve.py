"""The process of an app's own server: it listens, and looks after the supervisor of the workers.

Only this process imports the HTTP server; workers and the supervisor stay light.
"""

from __future__ import annotations

import logging
import socket
import sys

import msgspec
import uvloop

from local_runtime import gc_tuning
from local_runtime.client.managed import ManagedWorkers, supervisor_arguments
from local_runtime.client.socket_folder import wait_until_free
from local_runtime.client.workers import Workers
from local_runtime.clock import SystemClock
from local_runtime.http.server import HttpServer
from local_runtime.protocol.events import Standby
from local_runtime.protocol.wire import MAX_FRAME
from local_runtime.server.dispatcher import AppDispatcher
from local_runtime.server.fast_path import FastPathHttp
from local_runtime.server.routes import application, lifespan_of

DRAIN_S = 5
"""How long calls under way may take to end once the server is told to."""
MAX_LISTED = 20
"""Routes that are named when the app is ready."""
EXIT_HOPELESS = 1
"""The app cannot be started, and trying again would not help."""
EXIT_NOT_STARTED = 2
"""The port, or the folder of the sockets, is taken."""
FREE_WITHIN_S = 10.0
"""How long a server that was here before may take to let go of that folder, its calls under way
included."""


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What ``python -m local_runtime`` takes."""

    app: str
    """folder/file.py:app or package.module:app."""
    host: str = "127.0.0.1"
    port: int = 8000
    workers: int = 1
    device: str = "auto"
    standby: Standby = "none"
    threads: int | None = None
    memory: int | None = None
    """Bytes that the app's models share in each worker; None: what is free on its GPU."""
    start_timeout_s: float = 300.0
    silence_s: float = 60.0
    grace_s: float = 5.0
    max_message: int = MAX_FRAME
    sockets: str | None = None
    """Folder in which the workers' own sockets are found."""

    @property
    def url(self) -> str:
        """Where the server listens."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"


class AppServer(HttpServer):
    """The server of one app; ``status`` is the exit status once it has run."""

    def __init__(self, options: Options) -> None:
        self.status = 0
        self._options = options
        self._was_ready = False
        clock = SystemClock()
        arguments = supervisor_arguments(
            options.app,
            {
                "workers": options.workers,
                "device": options.device,
                "standby": options.standby,
                "threads": options.threads,
                "start-timeout": options.start_timeout_s,
                "silence": options.silence_s,
                "grace": options.grace_s,
                "max-frame": options.max_message,
                "memory": options.memory,
            },
        )
        managed = ManagedWorkers(arguments, clock, sockets=options.sockets)
        self._workers = Workers("worker", managed, options.max_message, clock, self._changed)
        self._dispatcher = AppDispatcher(self._workers, clock, max_message=options.max_message)
        super().__init__(
            application(self._dispatcher, lifespan_of(self._dispatcher)),
            host=options.host,
            port=options.port,
            drain_s=DRAIN_S,
            protocol=FastPathHttp,
        )

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """As any server's, and a line once the port is open."""
        await super().startup(sockets)
        if self.started:
            gc_tuning.relax()
            _say(f"{self._options.app} at {self._options.url}, loading")

    def _changed(self) -> None:
        self._dispatcher.changed()
        if self._workers.slots and not self._was_ready:
            self._was_ready = True
            routes = _listed(sorted(self._workers.connections[0].facts.routes))
            _say(f"ready after {self._workers.connections[0].facts.start_s:.1f} s: POST {routes}")
        if self._workers.hopeless and not self.should_exit:
            self.status, self.should_exit = EXIT_HOPELESS, True


def serve(options: Options) -> int:
    """Serves the app until a signal ends it; the exit status. Must run in the main thread."""
    # Of a dead worker the supervisor's own line tells already.
    logging.getLogger("spillgate.local").addHandler(logging.NullHandler())
    logging.getLogger("spillgate.local").propagate = False
    return uvloop.run(_serve(options))


async def _serve(options: Options) -> int:
    if options.sockets is not None:
        try:
            await wait_until_free(options.sockets, SystemClock(), FREE_WITHIN_S)
        except OSError as error:
            _say(f"--sockets: {error}")
            return EXIT_NOT_STARTED
    server = AppServer(options)
    await server.serve()
    return server.status if server.started else EXIT_NOT_STARTED


def _listed(routes: list[str]) -> str:
    """The first few: a line longer than a pipe holds would stop the server until it is read."""
    more = f" and {len(routes) - MAX_LISTED} more" if len(routes) > MAX_LISTED else ""
    return ", ".join(routes[:MAX_LISTED]) + more


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
