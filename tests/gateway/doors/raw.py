"""A client that hangs up: one request of the ASGI application itself."""

from __future__ import annotations

import asyncio
import json
from collections.abc import MutableMapping
from typing import Any

from gateway.app import web
from gateway.service import Gateway


class HangUp:
    """A POST whose client is there until ``leave``; ``status`` and ``body`` once it was
    answered."""

    def __init__(
        self, gateway: Gateway, path: str, key: str, body: object, *headers: tuple[bytes, bytes]
    ) -> None:
        self.status = 0
        self.body = b""
        self._body = json.dumps(body).encode()
        self._left = asyncio.Event()
        self._read = False
        sent = [(b"authorization", b"Bearer " + key.encode()), *headers]
        scope = {
            "type": "http",
            "method": "POST",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "headers": sent,
            "client": ("127.0.0.1", 1),
        }
        self.request = asyncio.ensure_future(web(gateway)(scope, self._receive, self._send))

    def leave(self) -> None:
        self._left.set()

    async def _receive(self) -> MutableMapping[str, Any]:
        if not self._read:
            self._read = True
            return {"type": "http.request", "body": self._body, "more_body": False}
        await self._left.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: MutableMapping[str, Any]) -> None:
        self.status = message.get("status", self.status)
        self.body += message.get("body", b"")
