"""The URLs of the two stores, as values: what a policy says and what the stores are opened with.

No message repeats a URL, which may hold a password.
"""

from __future__ import annotations

import re
from typing import Any, Literal, cast
from urllib.parse import SplitResult, parse_qs, parse_qsl, unquote, urlsplit

import msgspec

from adapters.settings import Secret

Synchronous = Literal["normal", "full"]
_NONE = Secret("")


class LedgerFile(msgspec.Struct, frozen=True, kw_only=True):
    """The file of an SQLite ledger; ``full`` keeps every row through the machine's own death."""

    path: str
    synchronous: Synchronous = "normal"


class Address(msgspec.Struct, frozen=True, kw_only=True):
    """Where a Redis server is and how to enter; the password shows in no repr."""

    scheme: Literal["redis", "rediss", "unix"]
    host: str = "127.0.0.1"
    port: int = 6379
    path: str = ""
    username: str = ""
    password: Secret = _NONE
    database: int = 0

    def __repr__(self) -> str:
        where = self.path if self.scheme == "unix" else f"{self.host}:{self.port}"
        return f"{self.scheme}://{where}/{self.database}"


def parse_ledger(url: Any) -> LedgerFile:
    """'sqlite:///.spillgate/ledger.db?synchronous=full' -> LedgerFile. Raises ValueError."""
    scheme, separator, rest = str(url).strip().partition("///")
    path, _, query = rest.partition("?")
    if scheme != "sqlite:" or not separator or not path or "\0" in path:
        raise ValueError("not a ledger such as sqlite:///.spillgate/ledger.db")
    if path == ":memory:":
        raise ValueError("a ledger is a file: in memory every bill would end with the process")
    options = dict(parse_qsl(query, keep_blank_values=True))
    synchronous = options.pop("synchronous", "normal")
    if options or synchronous not in ("normal", "full"):
        raise ValueError("the only option is synchronous=normal or synchronous=full")
    return LedgerFile(path=path, synchronous=cast(Synchronous, synchronous))


def parse_shared(url: Any) -> Address | None:
    """As ``parse_address``; None for ``memory://``, this process' own memory."""
    text = str(url).strip()
    return None if text in ("memory:", "memory://") else parse_address(text)


def parse_address(url: str) -> Address:
    """``redis://[[user]:password@]host[:port][/db]``, ``rediss://`` (TLS), ``unix:///path?db=1``.

    Raises ValueError.
    """
    parts = _split(url)
    local = parts.scheme == "unix"
    return Address(
        scheme=cast(Literal["redis", "rediss", "unix"], parts.scheme),
        host=parts.hostname or "127.0.0.1",
        port=_port(parts),
        path=unquote(parts.path) if local else "",
        username=unquote(parts.username or ""),
        password=Secret(unquote(parts.password or "")),
        database=_database(parts),
    )


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
    except ValueError:  # its words repeat what stands there
        raise ValueError("not a URL") from None
    if parts.scheme not in ("redis", "rediss", "unix"):
        raise ValueError("a shared store's URL begins with redis://, rediss:// or unix://")
    if parts.scheme == "unix" and parts.path.strip("/") == "":
        raise ValueError("a unix:// URL names a socket, as in unix:///run/redis.sock")
    return parts


def _port(parts: SplitResult) -> int:
    try:
        port = parts.port
    except ValueError:
        port = 0
    if port == 0:
        raise ValueError("the port in a Redis URL is a number from 1 to 65535")
    return port or 6379


def _database(parts: SplitResult) -> int:
    """Redis itself knows how many it has, 16 unless it was told otherwise."""
    local = parts.scheme == "unix"
    options = parse_qs(parts.query, keep_blank_values=True)
    if parts.fragment or set(options) - ({"db"} if local else set()):
        raise ValueError("a Redis URL ends with the number of its database")
    written = options.get("db", ["0"])[0] if local else parts.path.strip("/") or "0"
    if not re.fullmatch(r"[0-9]{1,4}", written):
        raise ValueError("the database in a Redis URL is a number, as in redis://host:6379/0")
    return int(written)
