"""A model behind OpenAI's protocol that answers as the last message says: a text, a call of a tool,
an error, or words without end."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

WORDS = ("the ", "gate ", "is ", "open")
USAGE = {"prompt_tokens": 10, "completion_tokens": 4, "total_tokens": 14}
_BETWEEN_S = 0.02


class Model(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """It is up."""
        self._json(200, {"object": "list", "data": [{"id": "chat", "object": "model"}]})

    def do_POST(self) -> None:
        """One chat."""
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        last = asked["messages"][-1]
        wanted = _text_of(last.get("content"))
        if "fail" in wanted:
            error = {"message": "the model says no", "type": "invalid_request_error", "code": "no"}
            self._json(400, {"error": error})
        elif asked.get("stream"):
            with suppress(OSError):  # whoever asked has gone
                self._stream(_pieces(asked, last, wanted))
        else:
            message = _message(asked, last)
            reason = "tool_calls" if "tool_calls" in message else "stop"
            choice = {"index": 0, "message": message, "finish_reason": reason}
            self._json(200, {**_HEAD, "choices": [choice], "usage": USAGE})

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing is said."""

    def _json(self, status: int, value: Any) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _stream(self, pieces: Iterator[Any]) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.close_connection = True
        self.end_headers()
        for piece in pieces:
            self.wfile.write(b"data: " + json.dumps(piece).encode() + b"\n\n")
            self.wfile.flush()
        self.wfile.write(b"data: [DONE]\n\n")


_HEAD = {"id": "c", "object": "chat.completion", "created": 1, "model": "chat"}
_CALL = {
    "id": "call_1",
    "type": "function",
    "function": {"name": "level", "arguments": '{"lake": "north"}'},
}


def _text_of(content: Any) -> str:
    if isinstance(content, list):
        return " ".join(part.get("text", "") for part in content)
    return content or ""


def _message(asked: Any, last: Any) -> dict[str, Any]:
    if asked.get("tools") and last["role"] != "tool":
        return {"role": "assistant", "content": None, "tool_calls": [_CALL]}
    return {"role": "assistant", "content": "".join(WORDS)}


def _pieces(asked: Any, last: Any, wanted: str) -> Iterator[Any]:
    message = _message(asked, last)
    if calls := message.get("tool_calls"):
        yield _piece({"role": "assistant", "tool_calls": [{"index": 0, **calls[0]}]})
        yield _piece({}, "tool_calls")
    else:
        yield from (_piece({"content": word}) for word in WORDS)
        while "endless" in wanted:
            time.sleep(_BETWEEN_S)
            yield _piece({"content": "on "})
        yield _piece({}, "stop")
    yield {**_HEAD, "object": "chat.completion.chunk", "choices": [], "usage": USAGE}


def _piece(delta: Any, reason: str | None = None) -> Any:
    choice = {"index": 0, "delta": delta, "finish_reason": reason}
    return {**_HEAD, "object": "chat.completion.chunk", "choices": [choice]}


@contextmanager
def model() -> Iterator[str]:
    """Serves it; yields its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Model)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
