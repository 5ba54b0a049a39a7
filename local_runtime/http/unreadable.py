"""What is told to a client whose request cannot be read, or does not come."""

from __future__ import annotations

import httptools

from local_runtime.http.errors import Refusal

NO_HTTP = Refusal(400, "invalid_http", "What was sent is not a valid HTTP/1.1 request.")
NO_HOST = Refusal(
    400, "invalid_http", "A request of HTTP/1.1 has one Host header, not none and not several."
)
BAD_HOST = Refusal(400, "invalid_http", "The request's Host, or its target, names no host.")
FRAMED_TWICE = Refusal(
    400,
    "invalid_http",
    "Nobody can say where the request's body ends: `chunked` is the last Transfer-Encoding, of "
    "HTTP/1.1 alone.",
)
TOO_SLOW = Refusal(408, "request_timeout", "The request did not come whole in time.")
TOO_LARGE = Refusal(431, "headers_too_large", "The request's headers are too large.")
OTHER_VERSION = Refusal(505, "http_version_not_supported", "HTTP/1.1 is spoken here, and HTTP/1.0.")


class Unreadable(ValueError):
    """Raised in the parser for a head that cannot be answered; ``refusal`` is why."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.message)
        self.refusal = refusal


def refusal_of(error: httptools.HttpParserError) -> Refusal:
    """What the client is told of it."""
    why = error.__context__
    return why.refusal if isinstance(why, Unreadable) else NO_HTTP


def not_decoded(coding: str) -> Refusal:
    """Of a body in a coding that is not taken off here (RFC 9112, 6.1)."""
    return Refusal(
        501,
        "unsupported_transfer_encoding",
        f"A body in the transfer encoding {coding[:40]!r} is not read here; send it in chunks "
        "alone, and a compressed one by Content-Encoding.",
        param="Transfer-Encoding",
    )
