"""The server that the gateway and an app's own server have in common: uvicorn, with a protocol of
our own and an end that is no failure."""

from __future__ import annotations

import signal
import ssl
from types import FrameType

import uvicorn
from starlette.types import ASGIApp

from local_runtime.http.protocol import HttpProtocol

KEEP_ALIVE_S = 75
"""How long an unused connection stays open: longer than the clients that keep one for a minute."""


class HttpServer(uvicorn.Server):
    """Uvicorn over one app, at ``host`` and ``port``.

    ``drain_s`` is how long calls under way may take to end once the server is told to; whole
    seconds. ``max_head`` bounds the head of a request, in bytes. ``protocol`` is made for each
    connection; ``tls``: with it the server speaks HTTPS alone.
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
    ) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                host=host,
                port=port,
                loop="uvloop",
                http=protocol,
                ws="none",
                lifespan="on",
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                timeout_keep_alive=KEEP_ALIVE_S,
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
