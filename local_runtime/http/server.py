"""The server that the gateway and an app's own server have in common: uvicorn, with a protocol of
our own and an end that is no failure."""

from __future__ import annotations

import asyncio
import functools
import signal
import ssl
from types import FrameType
from typing import cast

import uvicorn
from starlette.types import ASGIApp

from local_runtime.http.client_limits import ClientLimits
from local_runtime.http.protocol import DEFAULT_LIMITS, HttpProtocol
from local_runtime.http.strangers import Strangers


class HttpServer(uvicorn.Server):
    """Uvicorn over one app, at ``host`` and ``port``.

    ``drain_s`` is how long calls under way may take to end once the server is told to; whole
    seconds. ``max_head`` bounds the head of a request, in bytes. ``protocol`` is made for each
    connection; ``tls``: with it the server speaks HTTPS alone. ``limits`` bound what it waits for
    its clients; ``identifies``: the app says which have shown who they are, by ``IDENTIFY``.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        host: str,
        port: int,
        drain_s: int,
        protocol: type[HttpProtocol] = HttpProtocol,
        max_head: int | None = None,
        tls: ssl.SSLContext | None = None,
        limits: ClientLimits = DEFAULT_LIMITS,
        identifies: bool = False,
    ) -> None:
        self.strangers = Strangers(limits.strangers) if identifies else None
        """Connections of clients that have yet to show who they are."""
        connection = functools.partial(protocol, limits=limits, strangers=self.strangers)
        super().__init__(
            uvicorn.Config(
                app,
                host=host,
                port=port,
                loop="uvloop",
                http=cast("type[asyncio.Protocol]", connection),
                ws="none",
                lifespan="on",
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                timeout_graceful_shutdown=drain_s,
                h11_max_incomplete_event_size=max_head,
                ssl_context_factory=None if tls is None else (lambda *_: tls),
            )
        )

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """As uvicorn's own, but the signal is not raised again at the end: a server that was told
        to end, and did, has not failed. A second Ctrl-C ends it at once."""
        self.force_exit = self.should_exit and sig == signal.SIGINT
        self.should_exit = True
