"""What a backend was trusted with is never passed on, though the backend itself repeats it.

Adapters take their keys out of the messages of failures. An answer that is passed on as it came
may hold one as well: a service that echoes its request's headers would hand the operator's key to
every caller. Looking for it costs a fraction of a microsecond a kilobyte.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from adapters.settings import Secret
from adapters.types import Reply

_SHORTEST = 6
"""A shorter secret would blank out ordinary words."""
_HIDDEN = b"***"


class Veil:
    """Over the answers of one backend."""

    __slots__ = ("_secrets",)

    def __init__(self, settings: msgspec.Struct) -> None:
        self._secrets = tuple(
            secret for secret in map(str.encode, _revealed(settings)) if len(secret) >= _SHORTEST
        )

    def __call__(self, data: bytes) -> bytes:
        """The same bytes without a secret. A secret that two chunks share goes unseen; adapters
        give whole events."""
        for secret in self._secrets:
            if secret in data:
                data = data.replace(secret, _HIDDEN)
        return data

    def over(self, reply: Reply) -> Reply:
        """A whole answer; the chunks of a stream are veiled as they are passed on."""
        body = self(reply.body)
        return reply if body is reply.body else msgspec.structs.replace(reply, body=body)


def _revealed(settings: msgspec.Struct) -> Iterator[str]:
    for name in settings.__struct_fields__:
        value: Any = getattr(settings, name)
        for one in value.values() if isinstance(value, Mapping) else (value,):
            if isinstance(one, Secret):
                yield one.reveal()
