"""What handlers keep between calls: values under keys, each for a time.

    app.store.set("greeting", {"text": "hello"}, ttl=60)
    app.store.get("greeting")

``SPILLGATE_STORE`` says where: ``memory://`` (the default; each worker process has its own, gone
with it) or ``redis://host:port/db`` (shared by all workers, and by all machines). Both hold JSON,
so what works with one works with the other, and a value that was read is nobody else's.
"""

from __future__ import annotations

import math
import pickle
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Protocol

import msgspec

DEFAULT_TTL_S = 600.0
"""Potassium's."""
MAX_BYTES = 64 * 1024 * 1024
"""Of all values in memory; past it the ones written longest ago are forgotten."""
TIMEOUT_S = 2.0
"""The longest that one word with Redis may take."""
PREFIX = "spillgate:store:"

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


class StoreUnavailable(Exception):
    """The server behind the store did not do as it was told, or did not answer in time."""


class Codec(msgspec.Struct, frozen=True):
    """Values as bytes, and back."""

    encode: Callable[[Any], bytes]
    decode: Callable[[bytes], Any]


JSON = Codec(_encode, _decode)
PICKLE = Codec(pickle.dumps, pickle.loads)
"""For an app that asks for it: whoever can write to that server can then run code here."""


class HandlerStore(Protocol):
    """Values under keys, each for a time."""

    def get(self, key: str) -> Any:
        """The value, or None when there is none (any more). Raises StoreUnavailable."""
        ...

    def set(self, key: str, value: Any, ttl: float | None = DEFAULT_TTL_S) -> None:
        """Keeps the value for ``ttl`` seconds; None: until it is deleted. Raises ValueError for a
        ``ttl`` that is not above 0 and for a value larger than the store, TypeError for a key that
        is no text and for what the encoding has no word for, and StoreUnavailable."""
        ...

    def delete(self, key: str) -> bool:
        """True when there was a value. Raises StoreUnavailable."""
        ...


class MemoryStore:
    """In this process; may be used from any thread."""

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.monotonic,
        max_bytes: int = MAX_BYTES,
        codec: Codec = JSON,
    ) -> None:
        self._clock = clock
        self._max_bytes = max_bytes
        self._codec = codec
        self._lock = threading.Lock()
        self._bytes = 0
        self._values: OrderedDict[str, tuple[bytes, float]] = OrderedDict()

    def get(self, key: str) -> Any:
        with self._lock:
            found = self._values.get(key)
            if found is None:
                return None
            if found[1] <= self._clock():
                self._forget(key)
                return None
        return self._codec.decode(found[0])

    def set(self, key: str, value: Any, ttl: float | None = DEFAULT_TTL_S) -> None:
        until = self._clock() + _checked(ttl) if ttl is not None else float("inf")
        data = self._codec.encode(value)
        if (size := len(_named(key)) + len(data)) > self._max_bytes:
            raise ValueError(f"{size} bytes are more than the {self._max_bytes} of this store")
        with self._lock:
            self._forget(key)
            self._values[key] = (data, until)
            self._bytes += len(key) + len(data)
            while self._bytes > self._max_bytes:
                self._forget(next(iter(self._values)))

    def delete(self, key: str) -> bool:
        with self._lock:
            found = self._values.get(key)
            self._forget(key)
            return found is not None and found[1] > self._clock()

    def _forget(self, key: str) -> None:
        found = self._values.pop(key, None)
        if found is not None:
            self._bytes -= len(key) + len(found[0])


class RedisStore:
    """On a Redis server; keys are ``prefix`` and the caller's key. Every word is bounded in time.

    The ``redis`` package is imported when the first of these is made.
    """

    def __init__(self, url: str, *, prefix: str = PREFIX, codec: Codec = JSON) -> None:
        import redis

        self._client: Any = redis.Redis.from_url(
            url, socket_timeout=TIMEOUT_S, socket_connect_timeout=TIMEOUT_S
        )
        self._failure = redis.RedisError
        self._prefix = prefix
        self._codec = codec

    def get(self, key: str) -> Any:
        data = self._ask("GET", self._prefix + _named(key))
        return None if data is None else self._codec.decode(data)

    def set(self, key: str, value: Any, ttl: float | None = DEFAULT_TTL_S) -> None:
        lasts = ttl is None or ttl == math.inf
        expiry = () if lasts else ("PX", max(1, round(_checked(ttl or 0) * 1000)))
        self._ask("SET", self._prefix + _named(key), self._codec.encode(value), *expiry)

    def delete(self, key: str) -> bool:
        return bool(self._ask("DEL", self._prefix + _named(key)))

    def _ask(self, *command: Any) -> Any:
        try:
            return self._client.execute_command(*command)
        except self._failure as error:
            raise StoreUnavailable(f"Redis failed: {type(error).__name__}") from error


def open_store(url: str) -> HandlerStore:
    """The store of a URL: ``memory://``, ``redis://`` or ``rediss://``. Raises ValueError."""
    scheme = url.partition("://")[0]
    if scheme == "memory":
        return MemoryStore()
    if scheme in ("redis", "rediss"):
        return RedisStore(url)
    raise ValueError(f"a store is memory:// or redis://HOST:PORT/DB, not {scheme}://")


def _named(key: str) -> str:
    """Another type of key would be one value here and another there."""
    if not isinstance(key, str):
        raise TypeError(f"a key is a str, not a {type(key).__name__}")
    return key


def _checked(ttl: float) -> float:
    if not ttl > 0:
        raise ValueError(f"a time to live is above 0 seconds, not {ttl:g}")
    return ttl
