"""What would keep a valid policy from being served: looked for before it is, and said in its place.

Every backend is built, which does no I/O, and thrown away; the files that the policy names are
looked at. A port that somebody else holds is not seen here.
"""

from __future__ import annotations

import datetime
import errno
import ipaddress
import os
import socket
import stat
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path

from adapters.base import Backend
from adapters.settings import NeedsFiles, Secret, SettingError
from adapters.trust import read_trust
from gateway.environment import Environment
from gateway.policy.model import BackendSpec, Policy
from gateway.policy.reader import read_with_places
from gateway.policy.sections.server import TlsFiles, TlsNames
from gateway.policy.sections.telemetry import MetricsListener
from gateway.policy.sections.webhooks import unfit_secrets
from gateway.policy.syntax.problems import (
    Mark,
    PolicyError,
    Problem,
    join,
    place_of,
    problem_at,
    redacted,
)
from gateway.store_urls import Database, LedgerFile, ServerGroup
from gateway.tls.context import check_readable, server_context
from gateway.tls.files import TlsError, TlsMaterial, current
from gateway.tls.hosts import hosts_of

Found = Iterator[tuple[str, str]]
"""(key path, message)."""
MakeBackend = Callable[[BackendSpec], Backend]

_UNPRIVILEGED = 1024
"""The first port that everybody may listen on."""
_SQLITE = b"SQLite format 3\0"
_LONGEST_JOURNAL = "-journal"
"""What SQLite adds to a file's name at most (https://www.sqlite.org/tempfiles.html)."""


def read_startable(text: str, make: MakeBackend, known: Policy) -> Policy:
    """The policy that a text is, with secrets of the environment, beside one that is in force.
    Raises PolicyError."""
    policy, places = read_with_places(text, Environment(os.environ))
    check_startable(policy, places, make, known=known)
    return policy


def check_startable(
    policy: Policy,
    places: Mapping[str, Mark],
    make: MakeBackend,
    *,
    known: Policy | None = None,
    files: bool = True,
    installed: Callable[[str], bool] | None = None,
) -> None:
    """Raises PolicyError with all that would keep ``policy`` from being served.

    ``known`` is the policy in force: what it has too is not looked at again. ``files`` False
    leaves this machine's files, secrets and packages out, for a machine that only checks;
    ``installed`` says whether a package is here.
    """
    found = [*_backends(policy, make, known, files=files)]
    if files:
        found += unfit_secrets(policy.webhooks)
    if known is None and files:
        found += [
            *_data(policy),
            *_archive(policy),
            *_drivers(policy, installed or _is_installed),
            *_authorities(policy),
        ]
        found += [*_listener(policy), *_tls(policy)]
    if found:
        hidden = [*_secrets(policy.backends.values())]
        problems = [problem_at(place_of(path, places), path, message) for path, message in found]
        raise PolicyError(redacted(problem, hidden) for problem in problems)


def _is_installed(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except ModuleNotFoundError:  # nor is the one that it is in
        return False


# --- backends ------------------------------------------------------------------------------------


def _backends(policy: Policy, make: MakeBackend, known: Policy | None, *, files: bool) -> Found:
    for name, spec in policy.backends.items():
        if known is None or known.backends.get(name) != spec:
            path = join("backends", name)
            errors = [*_missing(spec)] if files else []
            for error in errors or _unbuildable(spec, make):
                yield _path_of(error, path), str(error)


def _missing(spec: BackendSpec) -> Iterable[SettingError]:
    return spec.settings.missing() if isinstance(spec.settings, NeedsFiles) else ()


def _unbuildable(spec: BackendSpec, make: MakeBackend) -> Iterable[SettingError]:
    try:
        make(spec)
    except SettingError as error:
        return [error]
    except Exception as error:  # whatever a kind's own code raises, a stranger's too
        return [SettingError((), f"cannot be made: {type(error).__name__}: {error}")]
    return []


def _path_of(error: SettingError, path: str) -> str:
    for key in error.keys:
        path = join(path, key)
    return path


def _secrets(specs: Iterable[BackendSpec]) -> Iterator[str]:
    """What no message may repeat."""
    for spec in specs:
        for field in spec.settings.__struct_fields__:
            value = getattr(spec.settings, field)
            for one in value.values() if isinstance(value, dict) else (value,):
                if isinstance(one, Secret):
                    yield one.reveal()


# --- files ---------------------------------------------------------------------------------------


def keys_file(policy: Policy) -> Path:
    """Where keys are kept, unless the policy or its ledger says otherwise."""
    return Path(policy.server.data) / "keys.db"


def _data(policy: Policy) -> Found:
    folder, store = Path(policy.server.data), policy.store
    files = {"server.data": (folder, keys_file(policy))}
    for path, place in (("store.ledger", store.ledger), ("store.keys", store.keys)):
        if isinstance(place, LedgerFile):
            files[path] = (Path(place.path).parent, Path(place.path))
    for path, (where, file) in files.items():
        clash = _clash(folder, file) if path == "store.ledger" else None
        fault = clash or _fault_of(_folder_fault, where) or _fault_of(_database_fault, file)
        if fault is not None:
            yield path, fault


def _drivers(policy: Policy, installed: Callable[[str], bool]) -> Found:
    for path, place in (("store.ledger", policy.store.ledger), ("store.keys", policy.store.keys)):
        if isinstance(place, Database) and not installed("asyncpg"):
            yield path, "PostgreSQL needs the package asyncpg: pip install 'spillgate[postgres]'"
    if isinstance(policy.store.shared, ServerGroup) and not installed("redis"):
        yield (
            "store.shared",
            "a cluster and Sentinels need the package redis: pip install 'spillgate[redis]'",
        )
    keep = policy.store.keep
    if keep is not None and keep.format == "parquet" and not installed("pyarrow"):
        why = "parquet needs the package pyarrow: pip install 'spillgate[archive]'"
        yield "store.keep.format", why
    if policy.server.otel is not None and not installed("opentelemetry.exporter.otlp.proto.http"):
        why = "OpenTelemetry needs packages of its own: pip install 'spillgate[otel]'"
        yield "server.otel", why


def _archive(policy: Policy) -> Found:
    keep = policy.store.keep
    if keep is not None and keep.archive is not None:
        fault = _fault_of(_folder_fault, Path(keep.archive))
        if fault is not None:
            yield "store.keep.archive", fault


def _authorities(policy: Policy) -> Found:
    shared = policy.store.shared
    address = shared.entry if isinstance(shared, ServerGroup) else shared
    if address is not None and address.ca_file:
        try:
            read_trust(address.ca_file)
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or error
            yield "store.shared", f"ca_file: {address.ca_file} is of no use: {why}"


def _clash(folder: Path, ledger: Path) -> str | None:
    """What of the gateway's own is already where the ledger would be."""
    data, file = Path(os.path.realpath(folder)), Path(os.path.realpath(ledger))
    if file == data / "keys.db":
        return f"{ledger} is the gateway's own file of keys: give the ledger another one"
    if file == data or file in data.parents:
        return f"{ledger} is a folder, that of server.data: give a file, such as {folder}/ledger.db"
    return None


def _fault_of(look: Callable[[Path], str | None], path: Path) -> str | None:
    try:
        return look(path)
    except (OSError, ValueError) as error:
        return f"{str(path)!r} cannot be used: {getattr(error, 'strerror', None) or error}"


def _folder_fault(folder: Path) -> str | None:
    """What keeps files from being made there, the folder first where that is missing."""
    absolute = folder.absolute()
    found = next(path for path in (absolute, *absolute.parents) if path.exists())
    if not found.is_dir():
        return f"{found} is a file, not a folder"
    if not os.access(found, os.W_OK | os.X_OK):
        return f"{found} cannot be written"
    _check_names(absolute, found)
    with tempfile.TemporaryDirectory(prefix=".spillgate-", dir=found):
        return None


def _check_names(path: Path, existing: Path) -> None:
    """Raises OSError for a name that is longer than the file system takes."""
    longest = os.pathconf(existing, "PC_NAME_MAX")
    for name in path.parts[len(existing.parts) :]:
        if len(os.fsencode(name)) > longest:
            raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))


def _database_fault(path: Path) -> str | None:
    if not path.exists():
        existing = next(one for one in path.absolute().parents if one.exists())
        _check_names(path.absolute().with_name(path.name + _LONGEST_JOURNAL), existing)
        return None
    if not path.is_file():
        return f"{path} is no file"
    with path.open("rb") as file:
        head = file.read(len(_SQLITE))
    if head and head != _SQLITE:
        return f"{path} is no SQLite database"
    return None if os.access(path, os.W_OK) else f"{path} cannot be written"


def exposed_files(policy: Policy, places: Mapping[str, Mark]) -> tuple[Problem, ...]:
    """What of the gateway's own files others on this machine may read: the folder, keys, the
    ledger and its journals, secret keys of certificates. Reads their modes."""
    data, store = Path(policy.server.data), policy.store
    private = [("server.data", path) for path in (data, keys_file(policy))]
    private += [("server.data", data / "tls" / name) for name in ("ca.key", "server.pem")]
    for where, place in (("store.ledger", store.ledger), ("store.keys", store.keys)):
        if isinstance(place, LedgerFile):
            file = Path(place.path)
            beside = (f"{file.name}{end}" for end in ("", "-wal", "-shm"))
            private += [(where, file.with_name(name)) for name in beside]
    if isinstance(policy.server.tls, TlsFiles):
        private.append(("server.tls.key", Path(policy.server.tls.key)))
    return tuple(
        problem_at(place_of(where, places), where, f"others may read {path}: chmod {mode} {path}")
        for where, path in private
        if (mode := _narrower_mode(path)) is not None
    )


def _narrower_mode(path: Path) -> str | None:
    """The mode that it should have, where others may read it."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return None
    if not mode & (stat.S_IRWXG | stat.S_IRWXO) & ~0o111:
        return None
    return "700" if stat.S_ISDIR(mode) else "600"


# --- the listener --------------------------------------------------------------------------------


def addresses_of(policy: Policy) -> dict[str, tuple[str, int]]:
    """Key path -> (host, port), of all that the gateway listens at."""
    server = policy.server
    addresses = {"server.listen": server.listen}
    if isinstance(server.metrics, MetricsListener):
        addresses["server.metrics.listen"] = server.metrics.listen
    return addresses


def _listener(policy: Policy) -> Found:
    for path, (host, port) in addresses_of(policy).items():
        try:
            _bind(host, port if port < _UNPRIVILEGED else 0)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                yield path, f"{host}:{port} cannot be listened on: {error.strerror}"


class PortTaken(Exception):
    """Another program listens there. The message is for the operator."""


def check_ports_are_free(policy: Policy) -> None:
    """What ``check`` leaves out, for the gateway that is checked may be running. Raises
    PortTaken."""
    for path, (host, port) in addresses_of(policy).items():
        try:
            _bind(host, port)
        except OSError as error:
            raise PortTaken(
                f"{path}: {host}:{port} cannot be listened on: {error.strerror}. If a gateway "
                f"runs there already, end it; else give another port in {path}"
            ) from None


def _bind(host: str, port: int) -> None:
    """Takes the address for an instant; nobody can connect meanwhile."""
    for family, kind, protocol, _, address in socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    ):
        with socket.socket(family, kind, protocol) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)


# --- certificates --------------------------------------------------------------------------------


def _tls(policy: Policy) -> Found:
    tls, (host, _) = policy.server.tls, policy.server.listen
    folder = Path(policy.server.data) / "tls"
    named = tls.names if isinstance(tls, TlsNames) else ()
    if isinstance(tls, TlsFiles):
        yield from _files(tls)
    elif tls == "off":
        return
    elif made := current(folder, hosts_of(host, named), datetime.datetime.now(datetime.UTC)):
        try:
            server_context(made)
        except TlsError as error:
            yield "server.tls", f"{error}; remove {folder / 'issued.json'} to have it made anew"
    else:
        yield from _names({"server.listen": (host,), "server.tls.names": named})


def _names(places: Mapping[str, Iterable[str]]) -> Found:
    for path, names in places.items():
        for name in names:
            if _address(name) is not None:
                continue
            # Imported here because a check of an address must not pay for ``cryptography``.
            from gateway.tls.authority import check_name

            try:
                check_name(name.lower())
            except TlsError as error:
                yield path, str(error)


def _files(tls: TlsFiles) -> Found:
    cert, key = Path(tls.cert), Path(tls.key)
    material = TlsMaterial(ca=cert, cert=cert, key=key)
    for path, look in (
        ("server.tls.cert", lambda: check_readable("certificate", cert)),
        ("server.tls.key", lambda: check_readable("private key", key)),
        ("server.tls", lambda: server_context(material)),
    ):
        try:
            look()
        except (TlsError, ValueError) as error:
            yield path, str(error)
            return


def certificate_warnings(policy: Policy, places: Mapping[str, Mark]) -> tuple[Problem, ...]:
    """Where the listener is reached from elsewhere and its own files are for loopback names alone.
    Reads the certificate."""
    tls, (host, _) = policy.server.tls, policy.server.listen
    if not isinstance(tls, TlsFiles) or _is_loopback(host):
        return ()
    # Imported here because only a listener with files of its own pays for ``cryptography``.
    from gateway.tls.authority import names_in

    names = names_in(Path(tls.cert))
    if not names or not all(_is_loopback(name) for name in names):
        return ()
    message = (
        f"reached from elsewhere, but the certificate is for {', '.join(names)} alone: other "
        "clients will not trust it"
    )
    return (problem_at(place_of("server.listen", places), "server.listen", message),)


def _is_loopback(host: str) -> bool:
    address = _address(host)
    return host.lower() == "localhost" if address is None else address.is_loopback


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
