"""Answers that come compressed although none was asked for (``Accept-Encoding: identity``): some
servers and proxies do so all the same. Pure.

gzip and deflate are undone, up to a bound, since a few bytes may hold gigabytes; what comes in any
other encoding is refused by its name. A head may name several, of which the last was applied last;
of those that servers and proxies name twice and apply once, only what is there is undone. What
stands behind the end of what was compressed is passed over, as the zeros with which some pad it.
"""

from __future__ import annotations

import zlib

from adapters.errors import malformed

MAX_PIECE = 16 * 1024 * 1024
"""Bytes that one read of a stream may become."""
_GZIP = 16 + zlib.MAX_WBITS
_ZLIB_HEAD = 2
"""Bytes, of which the first names the method and both together are a multiple of 31 (RFC 1950)."""
_GZIP_HEAD = b"\x1f\x8b"
_MOST = 4
"""Encodings of one answer that are undone."""
_NAME = b"content-encoding"
_LENGTH = len(_NAME)
_PLAIN = frozenset((b"", b"identity"))
_WBITS = {b"gzip": _GZIP, b"x-gzip": _GZIP, b"deflate": zlib.MAX_WBITS}


class ContentDecoder:
    """Undoes one encoding, piece by piece. What is ``doubtful`` may not be encoded at all: its
    first bytes tell."""

    def __init__(self, name: bytes, *, doubtful: bool = False) -> None:
        """Raises MALFORMED for one that cannot be undone."""
        if name not in _WBITS:
            shown = name.decode("latin-1", "replace")[:40]
            raise malformed(f"The backend's answer is encoded as {shown}, which nobody asked for.")
        self._name = name
        self._doubtful = doubtful
        self._stream = zlib.decompressobj(_WBITS[name])
        self._head: bytes | None = b"" if doubtful or name == b"deflate" else None
        """The first bytes, until they tell what comes."""
        self._begun = self._plain = self._over = False

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
        return self._stream.eof or self._over or self._plain or not self._begun

    def _undo(self, data: bytes, limit: int) -> bytes:
        parts: list[bytes] = []
        size = 0
        self._begun = self._begun or bool(data)
        if self._head is not None:
            data = self._headed(data)
        while data and not (self._plain or self._over):
            if self._stream.eof and not self._next_member(data):
                break
            part = self._stream.decompress(data, limit - size + 1)
            parts.append(part)
            size += len(part)
            if size > limit:
                raise malformed(f"The backend's answer is larger than {limit} bytes.")
            data = self._stream.unconsumed_tail or self._stream.unused_data
        return data if self._plain else b"".join(parts)

    def _next_member(self, data: bytes) -> bool:
        """Whether another one begins behind the end of one."""
        self._over = self._name == b"deflate" or not _GZIP_HEAD.startswith(data[:2])
        if not self._over:
            self._stream = zlib.decompressobj(_WBITS[self._name])
        return not self._over

    def _headed(self, data: bytes) -> bytes:
        """Much of what is called deflate comes without the head that RFC 9110 wants."""
        data = (self._head or b"") + data
        if len(data) < _ZLIB_HEAD:
            self._head = data
            return b""
        self._head = None
        is_zlib = data[0] & 0x0F == 8 and int.from_bytes(data[:_ZLIB_HEAD], "big") % 31 == 0
        is_encoded = is_zlib if self._name == b"deflate" else data.startswith(_GZIP_HEAD)
        self._plain = self._doubtful and not is_encoded
        if self._name == b"deflate" and not is_zlib:
            self._stream = zlib.decompressobj(-zlib.MAX_WBITS)
        return data


class ContentDecoders:
    """Undoes several, of which the outermost is the first."""

    def __init__(self, names: list[bytes]) -> None:
        """Raises MALFORMED for what cannot be undone."""
        if len(names) > _MOST:
            raise malformed(f"The backend's answer is encoded {len(names)} times.")
        self._each = [ContentDecoder(name, doubtful=at > 0) for at, name in enumerate(names)]

    def feed(self, data: bytes, limit: int = MAX_PIECE) -> bytes:
        """The same as of one."""
        for decoder in self._each:
            data = decoder.feed(data, limit)
        return data

    @property
    def complete(self) -> bool:
        """Nothing is missing of what has come."""
        return all(decoder.complete for decoder in self._each)


Decoder = ContentDecoder | ContentDecoders


def decoder_for(headers: list[tuple[bytes, bytes]]) -> Decoder | None:
    """What undoes the encodings that a head names; None where it names none. Raises MALFORMED."""
    names: list[bytes] | None = None
    for key, value in headers:
        # Names are told apart by their length first: this is asked of every answer.
        if len(key) == _LENGTH and key.lower() == _NAME:
            names = (names or []) + [name.strip().lower() for name in value.split(b",")]
    if names is None:
        return None
    names = [name for name in reversed(names) if name not in _PLAIN]
    if len(names) == 1:
        return ContentDecoder(names[0])
    return ContentDecoders(names) if names else None
