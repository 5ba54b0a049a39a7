"""What the app says of itself: ``/openapi.json``, and at ``/docs`` a page to try each handler."""

from __future__ import annotations

import secrets
from importlib import resources

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from local_runtime.server.dispatcher import AppDispatcher
from local_runtime.server.refusals import loading

_PAGE = "try_it.html"
_POLICY = (
    "default-src 'none'; connect-src 'self'; script-src 'nonce-{nonce}'; "
    "style-src 'unsafe-inline'; img-src blob: data:; media-src blob:; base-uri 'none'"
)


class Documents:
    """The two pages. The workers, which alone know the app, say what stands on them."""

    def __init__(self, dispatcher: AppDispatcher) -> None:
        self._dispatcher = dispatcher
        self._page = (resources.files("local_runtime.server") / _PAGE).read_text()

    def routes(self) -> list[Route]:
        """The pages by their paths."""
        return [
            Route("/openapi.json", self.openapi, methods=["GET"]),
            Route("/docs", self.try_it, methods=["GET"]),
        ]

    async def openapi(self, request: Request) -> Response:
        """OpenAPI 3.1. Raises Refusal 503 until a worker is ready."""
        workers = self._dispatcher.workers
        for connection in workers.connections:
            if connection.facts.described:
                return Response(connection.facts.described, media_type="application/json")
        raise loading(workers.retry_after())

    async def try_it(self, request: Request) -> Response:
        """The page, which asks for the other."""
        nonce = secrets.token_urlsafe(16)
        headers = {"Content-Security-Policy": _POLICY.format(nonce=nonce)}
        return Response(self._page.replace("%NONCE%", nonce), 200, headers, "text/html")
