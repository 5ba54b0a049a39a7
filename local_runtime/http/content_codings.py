"""Request bodies that come compressed: what names their codings says how to read them
(RFC 9110, 8.4).

A few bytes may stand for gigabytes: nothing is kept past a bound, and between two pieces the
event loop goes on.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Awaitable, Callable

Grow = Callable[[int], Awaitable[None]]

_PIECE = 256 * 1024
"""Bytes that are made at once: about a millisecond's work."""
_MOST_CODINGS = 2
_AUTO = 32 + zlib.MAX_WBITS
"""Of zlib: gzip (RFC 1952) or zlib's own wrapping (RFC 1950), whichever it is."""
_WINDOWS = {b"gzip": _AUTO, b"x-gzip": _AUTO, b"deflate": _AUTO}


class UnknownCoding(ValueError):
    """A coding that is not read here; ``str()`` is its name."""


class BadCoding(ValueError):
    """The body is not what its coding says, or breaks off."""


class TooMuch(ValueError):
    """Decoded, the body is larger than it may be."""


def named_codings(header: bytes) -> tuple[bytes, ...]:
    """The codings that a Content-Encoding names, in the order in which they are taken off; none
    for ``identity``. Raises UnknownCoding for one that is not read here, or too many."""
    names = [name.strip().lower() for name in header.split(b",")]
    codings = tuple(name for name in reversed(names) if name not in (b"", b"identity"))
    for name in codings:
        if name not in _WINDOWS:
            raise UnknownCoding(name.decode("latin-1"))
    if len(codings) > _MOST_CODINGS:
        raise UnknownCoding(b", ".join(names).decode("latin-1"))
    return codings


async def decode_body(
    body: bytes, codings: tuple[bytes, ...], limit: int, grow: Grow | None = None
) -> bytes:
    """The body without its codings. ``grow`` is told of each piece that is made. Raises
    BadCoding, TooMuch past ``limit`` bytes, and what ``grow`` raises."""
    for name in codings:
        body = await _inflated(body, _window(name, body), limit, grow)
    return body


def _window(name: bytes, body: bytes) -> int:
    """Some senders of ``deflate`` leave out the wrapping, which is known by its first byte."""
    bare = name == b"deflate" and body[:1] and body[0] & 0x0F != zlib.DEFLATED
    return -zlib.MAX_WBITS if bare else _WINDOWS[name]


async def _inflated(body: bytes, window: int, limit: int, grow: Grow | None) -> bytes:
    parts: list[bytes] = []
    size = 0
    while True:
        stream = zlib.decompressobj(window)
        while not stream.eof:
            part = _next(stream, body)
            body = stream.unconsumed_tail
            size += len(part)
            if size > limit:
                raise TooMuch
            if grow is not None:
                await grow(len(part))
            parts.append(part)
            if not part and not body and not stream.eof:
                raise BadCoding("it breaks off")
            await asyncio.sleep(0)
        body = stream.unused_data
        if not body:  # else another member follows (RFC 1952, 2.2)
            return b"".join(parts)


def _next(stream: zlib._Decompress, body: bytes) -> bytes:
    try:
        return stream.decompress(body, _PIECE)
    except zlib.error as error:
        raise BadCoding(str(error)) from None
