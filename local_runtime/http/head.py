"""The heads of HTTP/1.1 answers as bytes, and what is the same from one request to the next."""

from __future__ import annotations

import functools
import re
from http import HTTPStatus
from typing import Any, NamedTuple
from urllib.parse import unquote

import httptools

from local_runtime.http.errors import Refusal

FRAMING = frozenset((b"content-length", b"transfer-encoding"))
"""The headers that say where a body ends."""
_STATUSES = frozenset(HTTPStatus)
_PRINTED = bytes(code for code in range(256) if code == 9 or (code >= 32 and code != 127))


@functools.cache
def status_line(status: int) -> bytes:
    """The first line of an answer, without its end: ``HTTP/1.1 200 OK``."""
    phrase = HTTPStatus(status).phrase if status in _STATUSES else ""
    return f"HTTP/1.1 {status} {phrase}".encode()


def head_of(lines: list[bytes]) -> bytes:
    """The lines as a whole head, with the empty line that ends it.

    Raises RuntimeError where one holds a control character: it could end the head early.
    """
    head = b"\r\n".join(lines)
    if head.translate(None, _PRINTED) != b"\r\n" * (len(lines) - 1):
        raise RuntimeError("a header of the answer holds a control character")
    return head + b"\r\n\r\n"


def refusal_headers(refusal: Refusal) -> list[tuple[bytes, bytes]]:
    """The headers of a refusal's answer, after which its connection is closed."""
    return [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(refusal.body())),
        (b"connection", b"close"),
        *(
            (name.lower().encode(), value.encode())
            for name, value in refusal.headers.items()
            if name.lower() != "connection"
        ),
    ]


def refusal_answer(refusal: Refusal) -> bytes:
    """A refusal as a whole answer, for what was sent in the place of a request."""
    headers = [name + b": " + value for name, value in refusal_headers(refusal)]
    return head_of([status_line(refusal.status), *headers]) + refusal.body()


class TargetHost(NamedTuple):
    """Whose a target in absolute form is (RFC 9112, 3.2.2)."""

    host: bytes
    """With its port."""
    is_plain: bool
    """It is HTTP's, and of nobody in particular."""


class RequestTarget(NamedTuple):
    """What a request is for."""

    path: str
    """Unquoted."""
    raw_path: bytes
    """As it came."""
    query: bytes
    authority: TargetHost | None


@functools.lru_cache(maxsize=256)
def target_of(url: bytes) -> RequestTarget:
    """Raises httptools.HttpParserError for a target that is none."""
    parsed = httptools.parse_url(url)
    raw = parsed.path or b"/"
    path = raw.decode("ascii")
    authority = None if parsed.schema is None else _authority_of(url, parsed)
    return RequestTarget(
        unquote(path) if "%" in path else path, raw, parsed.query or b"", authority
    )


def _authority_of(url: bytes, parsed: httptools.parser.url_parser.URL) -> TargetHost:
    host = re.split(rb"[/?#]", url.partition(b"://")[2], maxsplit=1)[0]
    is_http = parsed.schema.lower() in (b"http", b"https")
    return TargetHost(host, is_http and parsed.userinfo is None)


def address_of(info: Any) -> tuple[str, int | None] | None:
    """A socket's address as ASGI has it: host and port, or the path of a Unix socket."""
    if isinstance(info, tuple):
        return str(info[0]), int(info[1])
    return (info, None) if isinstance(info, str) and info else None
