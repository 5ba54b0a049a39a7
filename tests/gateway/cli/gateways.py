"""A stand-in for a gateway that is asked: it answers what it is told, in a thread of its own."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any


class Asked:
    """The last request, and the answer to the next."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.status = 200
        self.answer = b"{}"
        self.path = ""
        self.headers: dict[str, str] = {}
        self.body: Any = None

    def answers(self, value: Any, status: int = 200) -> None:
        self.status, self.answer = status, json.dumps(value).encode()


@contextlib.contextmanager
def stand_in() -> Iterator[Asked]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.path, asked.headers = self.path, dict(self.headers)
            self.send_response(asked.status)
            self.send_header("content-length", str(len(asked.answer)))
            self.end_headers()
            self.wfile.write(asked.answer)

        def do_POST(self) -> None:
            length = int(self.headers["content-length"])
            asked.body = json.loads(self.rfile.read(length))
            self.do_GET()

        def log_message(self, format: str, *args: Any) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Handler)
    asked = Asked(server.server_port)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield asked
    finally:
        server.shutdown()
        thread.join(10)
        server.server_close()
