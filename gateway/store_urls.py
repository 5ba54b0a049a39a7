"""The URLs of the stores, as values: what a policy says and what the stores are opened with.

No message repeats a URL, which may hold a password.
"""

from __future__ import annotations

import re
from typing import Any, Literal, cast, get_args
from urllib.parse import SplitResult, parse_qs, parse_qsl, unquote, urlsplit

import msgspec

from adapters.settings import Secret

Synchronous = Literal["normal", "full"]
SslMode = Literal["disable", "allow", "prefer", "require", "verify-ca", "verify-full"]
_NONE = Secret("")
_SCHEMA = re.compile(r"[a-z_][a-z0-9_]{0,62}\Z")


class LedgerFile(msgspec.Struct, frozen=True, kw_only=True):
    """The file of an SQLite ledger; ``full`` keeps every row through the machine's own death."""

    path: str
    synchronous: Synchronous = "normal"


class Database(msgspec.Struct, frozen=True, kw_only=True):
    """A database on PostgreSQL servers, of which one takes writes; the password shows in no repr.

    ``hosts``   names and ports; a name that begins with ``/`` is the folder of a Unix socket.
    ``schema``  the schema in the database that holds our tables.
    """

    hosts: tuple[tuple[str, int], ...]
    username: str
    password: Secret = _NONE
    database: str
    sslmode: SslMode = "prefer"
    sslrootcert: str = ""
    schema: str = "spillgate"

    def __repr__(self) -> str:
        where = ",".join(f"{host}:{port}" for host, port in self.hosts)
        return f"postgresql://{where}/{self.database}"


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


def parse_ledger(url: Any) -> LedgerFile | Database:
    """'sqlite:///.spillgate/ledger.db?synchronous=full' -> LedgerFile; of PostgreSQL as
    ``parse_database``. Raises ValueError."""
    text = str(url).strip()
    if text.startswith(("postgresql:", "postgres:")):
        return parse_database(text)
    scheme, separator, rest = text.partition("///")
    path, _, query = rest.partition("?")
    if scheme != "sqlite:" or not separator or not path or "\0" in path:
        raise ValueError(
            "not a ledger such as sqlite:///.spillgate/ledger.db or postgresql://USER@HOST/DATABASE"
        )
    if path == ":memory:":
        raise ValueError("a ledger is a file: in memory every bill would end with the process")
    options = dict(parse_qsl(query, keep_blank_values=True))
    synchronous = options.pop("synchronous", "normal")
    if options or synchronous not in ("normal", "full"):
        raise ValueError("the only option is synchronous=normal or synchronous=full")
    return LedgerFile(path=path, synchronous=cast(Synchronous, synchronous))


def parse_keys(url: Any) -> LedgerFile | Database:
    """As ``parse_ledger``, without options of a file. Raises ValueError."""
    place = parse_ledger(url)
    if isinstance(place, LedgerFile) and "?" in str(url):
        raise ValueError("a file of keys has no options")
    return place


def parse_database(url: str) -> Database:
    """``postgresql://USER[:PASSWORD]@HOST[:PORT][,HOST[:PORT]]/DATABASE[?sslmode=...]``.

    Options: ``sslmode``, ``sslrootcert``, ``schema``, and ``host`` for the folder of a Unix socket.
    Raises ValueError, which repeats nothing of the URL.
    """
    try:
        parts = urlsplit(url)
    except ValueError:  # its words repeat what stands there
        raise ValueError("not a URL") from None
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    entry, _, servers = parts.netloc.rpartition("@")
    username, _, password = entry.partition(":")
    database = unquote(parts.path.removeprefix("/"))
    if not username or not database or "/" in database or "\0" in database or parts.fragment:
        raise ValueError("a PostgreSQL URL is postgresql://USER@HOST:PORT/DATABASE")
    hosts = _servers(servers, options.pop("host", ""))
    sslmode = options.pop("sslmode", "prefer")
    if sslmode not in get_args(SslMode):
        raise ValueError(f"sslmode is one of {', '.join(get_args(SslMode))}")
    schema = options.pop("schema", "spillgate")
    if not _SCHEMA.match(schema):
        raise ValueError("schema is a name of small letters, digits and _")
    sslrootcert = options.pop("sslrootcert", "")
    if options:
        raise ValueError("the options are sslmode, sslrootcert, schema and host")
    return Database(
        hosts=hosts,
        username=unquote(username),
        password=Secret(unquote(password)),
        database=database,
        sslmode=cast(SslMode, sslmode),
        sslrootcert=sslrootcert,
        schema=schema,
    )


def _servers(written: str, socket_folder: str) -> tuple[tuple[str, int], ...]:
    """``one:5432,two`` -> names and ports."""
    if socket_folder:
        if not socket_folder.startswith("/"):
            raise ValueError("the option host is the folder of a Unix socket, from the root")
        port = written.removeprefix(":")
        return ((socket_folder, _server_port(port)),)
    servers = []
    for one in written.split(","):
        match = re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[^\[\]:]+)(?::(.*))?", one)
        if match is None:
            raise ValueError(
                "a PostgreSQL URL names its server, as in postgresql://USER@HOST/DATABASE"
            )
        servers.append((unquote(match[1].strip("[]")), _server_port(match[2] or "")))
    return tuple(servers)


def _server_port(written: str) -> int:
    if not written:
        return 5432
    if not re.fullmatch(r"[0-9]{1,5}", written) or not 0 < int(written) < 65_536:
        raise ValueError("the port in a PostgreSQL URL is a number from 1 to 65535")
    return int(written)


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
