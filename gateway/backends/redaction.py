"""What a backend was trusted with is never passed on, though the backend itself repeats it.

Adapters take their keys out of the messages of failures. An answer that is passed on as it came
may hold one as well: a service that echoes its request's headers would hand the operator's key to
every caller. Looking for it costs a fraction of a microsecond a kilobyte.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from adapters.settings import Secret
from adapters.types import Reply

_SHORTEST = 6
"""A shorter secret would blank out ordinary words."""
_HIDDEN = b"***"


class Redactor:
    """Over the answers of one backend. Of secrets that overlap, the first blanks out its part;
    of those that begin together, the longest."""

    __slots__ = ("_pattern", "_secrets", "inner")

    def __init__(self, settings: msgspec.Struct) -> None:
        found = {secret.encode() for secret in _revealed(settings)}
        longest_first = sorted(
            (s for s in found if len(s) >= _SHORTEST), key=lambda s: (-len(s), s)
        )
        self._secrets = tuple(longest_first)
        self._pattern = re.compile(b"|".join(map(re.escape, longest_first)))
        self.inner = frozenset(byte for secret in longest_first for byte in secret[:-1])
        """What a chunk must end with to end inside a secret."""

    def __call__(self, data: bytes) -> bytes:
        """The same bytes without a secret."""
        for secret in self._secrets:
            if data.find(secret) >= 0:
                return self._pattern.sub(_HIDDEN, data)
        return data

    def split(self, data: bytes) -> tuple[bytes, bytes]:
        """(What can be said of it now, without a secret; the rest, with which one may begin)."""
        open_from = self._open_from(data, 0)
        if open_from == len(data):
            return self(data), b""
        parts = []
        start = 0
        while True:
            match = self._pattern.search(data, start)
            if match is None or match.start() >= open_from:
                parts.append(data[start:open_from])
                return b"".join(parts), data[open_from:]
            parts += (data[start : match.start()], _HIDDEN)
            start = match.end()
            open_from = self._open_from(data, start)

    def _open_from(self, data: bytes, start: int) -> int:
        """The first place, not before ``start``, from which all is the beginning of a secret."""
        end = first = len(data)
        for secret in self._secrets:
            place = data.find(secret[:1], max(start, end - len(secret) + 1), first)
            while place >= 0 and not secret.startswith(data[place:]):
                place = data.find(secret[:1], place + 1, first)
            if place >= 0:
                first = place
        return first

    def over_stream(self) -> StreamRedactor:
        """The same over the chunks of one stream."""
        return StreamRedactor(self)

    def over(self, reply: Reply) -> Reply:
        """A whole answer; the chunks of a stream are redacted as they are passed on."""
        for secret in self._secrets:
            if reply.body.find(secret) >= 0:
                return msgspec.structs.replace(reply, body=self(reply.body))
        return reply


class StreamRedactor:
    """Over the chunks of one stream, as if they were one: of each, the end is held back with
    which a secret may have begun, and nothing else waits. An event ends with an empty line, so
    this is next to never more than nothing."""

    __slots__ = ("_held", "_inner", "_redactor")

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        self._inner = redactor.inner
        self._held = b""

    def __call__(self, data: bytes) -> bytes:
        """What may be passed on now; may be empty."""
        if (whole := self.at_once(data)) is not None:
            return whole
        ready, self._held = self._redactor.split(self._held + data)
        return ready

    def at_once(self, data: bytes) -> bytes | None:
        """The same where none of it waits for what follows, nor anything from before; else None,
        and nothing was taken."""
        if self._held or not data or data[-1] in self._inner:
            return None
        return self._redactor(data) if self._inner else data

    def rest(self) -> bytes:
        """When nothing more comes: what was held back and has become no secret."""
        held, self._held = self._held, b""
        return self._redactor(held)


def _revealed(settings: msgspec.Struct) -> Iterator[str]:
    for name in settings.__struct_fields__:
        value: Any = getattr(settings, name)
        for one in value.values() if isinstance(value, Mapping) else (value,):
            if isinstance(one, Secret):
                yield one.reveal()
