"""Answers that come compressed although none was asked for (``Accept-Encoding: identity``): some
servers and proxies do so all the same. Pure.

gzip and deflate are undone, up to a bound, since a few bytes may hold gigabytes; what comes in any
other encoding, or in several, is refused by its name.
"""

from __future__ import annotations

import zlib

from adapters.errors import malformed

MAX_PIECE = 16 * 1024 * 1024
"""Bytes that one read of a stream may become."""
_GZIP = 16 + zlib.MAX_WBITS
_ZLIB_HEAD = 2
"""Bytes, of which the first names the method and both together are a multiple of 31 (RFC 1950)."""
_NAME = b"content-encoding"
_LENGTH = len(_NAME)
_PLAIN = frozenset((b"", b"identity"))
_WBITS = {b"gzip": _GZIP, b"x-gzip": _GZIP, b"deflate": zlib.MAX_WBITS}


class ContentDecoder:
    """Undoes one encoding, piece by piece."""

    def __init__(self, name: bytes) -> None:
        """Raises MALFORMED for one that cannot be undone."""
        if name not in _WBITS:
            shown = name.decode("latin-1", "replace")[:40]
            raise malformed(f"The backend's answer is encoded as {shown}, which nobody asked for.")
        self._name = name
        self._stream = zlib.decompressobj(_WBITS[name])
        self._head: bytes | None = b"" if name == b"deflate" else None
        """The first bytes of what may lack zlib's head, until they tell."""
        self._begun = False

    def feed(self, data: bytes, limit: int = MAX_PIECE) -> bytes:
        """What more bytes hold. Raises MALFORMED for what is not encoded so, or is more than
        ``limit`` bytes."""
        try:
            return self._undo(data, limit)
        except zlib.error as error:
            name = self._name.decode()
            raise malformed(f"The backend's answer is no {name}.", detail=str(error)) from None

    @property
    def complete(self) -> bool:
        """Nothing is missing of what has come."""
        return self._stream.eof or not self._begun

    def _undo(self, data: bytes, limit: int) -> bytes:
        parts: list[bytes] = []
        size = 0
        self._begun = self._begun or bool(data)
        if self._head is not None:
            data = self._headed(data)
        while data:
            if self._stream.eof:  # the next member of several
                self._stream = zlib.decompressobj(_WBITS[self._name])
            part = self._stream.decompress(data, limit - size + 1)
            parts.append(part)
            size += len(part)
            if size > limit:
                raise malformed(f"The backend's answer is larger than {limit} bytes.")
            data = self._stream.unconsumed_tail or self._stream.unused_data
        return b"".join(parts)

    def _headed(self, data: bytes) -> bytes:
        """Much of what is called deflate comes without the head that RFC 9110 wants."""
        data = (self._head or b"") + data
        if len(data) < _ZLIB_HEAD:
            self._head = data
            return b""
        self._head = None
        if data[0] & 0x0F != 8 or int.from_bytes(data[:_ZLIB_HEAD], "big") % 31:
            self._stream = zlib.decompressobj(-zlib.MAX_WBITS)
        return data


def decoder_for(headers: list[tuple[bytes, bytes]]) -> ContentDecoder | None:
    """What undoes the encoding that a head names; None where it names none. Raises MALFORMED."""
    for key, value in headers:
        # Names are told apart by their length first: this is asked of every answer.
        if len(key) == _LENGTH and key.lower() == _NAME:
            name = value.strip().lower()
            return None if name in _PLAIN else ContentDecoder(name)
    return None
