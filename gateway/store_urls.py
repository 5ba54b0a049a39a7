"""The URLs of the stores, as values: what a policy says and what the stores are opened with.

No message repeats a URL, which may hold a password.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any, Literal, cast, get_args
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

import msgspec

from adapters.settings import Secret

Synchronous = Literal["normal", "full"]
SslMode = Literal["disable", "allow", "prefer", "require", "verify-ca", "verify-full"]
_NONE = Secret("")
_GROUP = re.compile(r"rediss?\+(cluster|sentinel)://")
_SENTINEL_OPTIONS = frozenset(("sentinel_auth",))
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
    """Where a Redis server is and how to enter; the password shows in no repr.

    ``ca_file``  whose certificates are believed, in PEM; empty: the system's authorities.
    """

    scheme: Literal["redis", "rediss", "unix"]
    host: str = "127.0.0.1"
    port: int = 6379
    path: str = ""
    username: str = ""
    password: Secret = _NONE
    database: int = 0
    ca_file: str = ""

    def __repr__(self) -> str:
        where = self.path if self.scheme == "unix" else f"{self.host}:{self.port}"
        return f"{self.scheme}://{where}/{self.database}"


class ServerGroup(msgspec.Struct, frozen=True, kw_only=True):
    """Redis servers of which one at a time is our keys' primary, and whom to ask which.

    ``hosts``  names and ports: nodes of the cluster, or Sentinels.
    ``entry``  how to enter the primary, wherever it is, and a cluster's nodes.
    ``name``   what the Sentinels call it.
    ``same_entry``  whether the Sentinels are entered with the primary's user and password; else
                    with none.
    """

    kind: Literal["cluster", "sentinel"]
    hosts: tuple[tuple[str, int], ...]
    entry: Address
    name: str = ""
    same_entry: bool = False

    def __repr__(self) -> str:
        where = ",".join(f"{host}:{port}" for host, port in self.hosts)
        end = f"/{self.name}" if self.name else ""
        return f"{self.entry.scheme}+{self.kind}://{where}{end}/{self.entry.database}"


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
        return ((socket_folder, _server_port(port, 5432, "PostgreSQL")),)
    return _hosts(
        written,
        5432,
        "PostgreSQL",
        "a PostgreSQL URL names its server, as in postgresql://USER@HOST/DATABASE",
    )


def _hosts(written: str, usual: int, what: str, unnamed: str) -> tuple[tuple[str, int], ...]:
    """``one:5432,[::1]`` -> names and ports, of which ``usual`` is the one that may be left out.
    Raises ValueError, with ``unnamed`` where one has no name."""
    servers = []
    for one in written.split(","):
        match = re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[^\[\]:]+)(?::(.*))?", one)
        if match is None:
            raise ValueError(unnamed)
        port = _server_port(match[2] or "", usual, what)
        servers.append((unquote(match[1].strip("[]")), port))
    return tuple(servers)


def _server_port(written: str, usual: int, what: str) -> int:
    if not written:
        return usual
    if not re.fullmatch(r"[0-9]{1,5}", written) or not 0 < int(written) < 65_536:
        raise ValueError(f"the port in a {what} URL is a number from 1 to 65535")
    return int(written)


def parse_shared(url: Any) -> Address | ServerGroup | None:
    """As ``parse_address`` or ``parse_group``; None for ``memory://``, this process' own memory."""
    text = str(url).strip()
    if text in ("memory:", "memory://"):
        return None
    return parse_group(text) if _GROUP.match(text) else parse_address(text)


def parse_address(url: str) -> Address:
    """``redis://[[user]:password@]host[:port][/db]``, ``unix:///path?db=1``, or with TLS
    ``rediss://...[?ca_file=PATH]``.

    Raises ValueError.
    """
    parts = _split(url)
    scheme = cast(Literal["redis", "rediss", "unix"], parts.scheme)
    local = scheme == "unix"
    options = _options(parts, {"db"} if local else _tls_options(scheme))
    return Address(
        scheme=scheme,
        host=parts.hostname or "127.0.0.1",
        port=_port(parts),
        path=unquote(parts.path) if local else "",
        username=unquote(parts.username or ""),
        password=Secret(unquote(parts.password or "")),
        database=_database(options.get("db", "0") if local else parts.path.strip("/")),
        ca_file=options.get("ca_file", ""),
    )


def parse_group(url: str) -> ServerGroup:
    """``redis+cluster://[[user]:password@]host[:port][,host[:port]]`` or
    ``redis+sentinel://[[user]:password@]host[:port][,host[:port]]/NAME[/db]``; with TLS
    ``rediss+``.

    Options: ``ca_file`` with TLS; ``sentinel_auth=same`` for Sentinels that ask who comes.
    Raises ValueError, which repeats nothing of the URL.
    """
    parts = _split(url)
    scheme, kind = cast(
        tuple[Literal["redis", "rediss"], Literal["cluster", "sentinel"]], parts.scheme.split("+")
    )
    cluster = kind == "cluster"
    own = frozenset() if cluster else _SENTINEL_OPTIONS
    options = _options(parts, _tls_options(scheme) | own)
    entry, _, servers = parts.netloc.rpartition("@")
    username, _, password = entry.partition(":")
    if options.get("sentinel_auth", "same") != "same":
        raise ValueError("the only sentinel_auth is same: the user and password of the URL")
    name, _, database = ("", "", parts.path) if cluster else parts.path[1:].partition("/")
    if not cluster and not name:
        raise ValueError("a Sentinel URL ends with the primary's name: redis+sentinel://HOST/NAME")
    if cluster and database.strip("/") not in ("", "0"):
        raise ValueError("a Redis cluster has one database, which is 0")
    unnamed = f"the URL names its servers, as in redis+{kind}://HOST:PORT,HOST:PORT"
    return ServerGroup(
        kind=kind,
        hosts=_hosts(servers, 6379 if cluster else 26379, "Redis", unnamed),
        name=unquote(name),
        entry=Address(
            scheme=scheme,
            username=unquote(username),
            password=Secret(unquote(password)),
            database=_database(database.strip("/")),
            ca_file=options.get("ca_file", ""),
        ),
        same_entry="sentinel_auth" in options,
    )


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
    except ValueError:  # its words repeat what stands there
        raise ValueError("not a URL") from None
    if parts.scheme not in ("redis", "rediss", "unix") and not _GROUP.match(url):
        raise ValueError(
            "a shared store's URL begins with redis://, rediss://, unix://, redis+cluster:// or "
            "redis+sentinel://"
        )
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


def _tls_options(scheme: str) -> frozenset[str]:
    return frozenset(("ca_file",) if scheme == "rediss" else ())


def _options(parts: SplitResult, known: Collection[str]) -> dict[str, str]:
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    if "ca_file" in options.keys() - known:
        raise ValueError("ca_file is for rediss://, with TLS")
    if parts.fragment or options.keys() - known:
        listed = f"; its options are {', '.join(sorted(known))}" if known else ""
        raise ValueError(f"a Redis URL ends with the number of its database{listed}")
    return options


def _database(written: str) -> int:
    """Redis itself knows how many it has, 16 unless it was told otherwise."""
    if not re.fullmatch(r"[0-9]{0,4}", written):
        raise ValueError("the database in a Redis URL is a number, as in redis://host:6379/0")
    return int(written or "0")
