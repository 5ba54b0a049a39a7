"""A Starlette app on a free port of 127.0.0.1, in a thread of its own."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

import uvicorn
from starlette.applications import Starlette

from tests.live import free_port
from tests.waiting import wait_until


@contextlib.contextmanager
def served(app: Starlette) -> Iterator[str]:
    """Its URL, once it answers."""
    port = free_port()
    config = uvicorn.Config(app, port=port, log_level="critical", access_log=False)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    wait_until(lambda: server.started, "the server has started")
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(10)
