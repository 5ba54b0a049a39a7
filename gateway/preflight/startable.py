"""What would keep a valid policy from being served: looked for before it is, and said in its place.

Every backend is built, which does no I/O, and thrown away; the files that the policy names are
looked at. A port that somebody else holds is not seen here.
"""

from __future__ import annotations

import errno
import os
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
from gateway.policy.sections.server import TlsFiles
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
from gateway.preflight.claims import KEYS_FILE, claim_faults
from gateway.preflight.listening import certificate_faults, listener_faults
from gateway.store_urls import Database, LedgerFile, ServerGroup

Found = Iterator[tuple[str, str]]
"""(key path, message)."""
MakeBackend = Callable[[BackendSpec], Backend]

_SQLITE = b"SQLite format 3\0"
_LONGEST_JOURNAL = "-journal"
"""What SQLite adds to a file's name at most (https://www.sqlite.org/tempfiles.html)."""


def read_startable(text: str, make: MakeBackend, known: Policy) -> Policy:
    """The policy that a text is, with secrets of the environment, beside one that is in force.
    Raises PolicyError."""
    policy, places = read_with_places(text, Environment(os.environ, running=True))
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
    found = [*_backends(policy, make, known, files=files), *claim_faults(policy, files=files)]
    if files:
        found += unfit_secrets(policy.webhooks)
    if known is None and files:
        found += [
            *_data(policy),
            *_folders(policy),
            *_drivers(policy, installed or _is_installed),
            *_authorities(policy),
        ]
        found += [*listener_faults(policy), *certificate_faults(policy)]
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
    return Path(policy.server.data) / KEYS_FILE


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
    if policy.server.console.oidc is not None and not installed("joserfc"):
        why = "an OpenID provider needs the package joserfc: pip install 'spillgate[oidc]'"
        yield "server.console.oidc", why


def _folders(policy: Policy) -> Found:
    """Those of callers' files and of old rows."""
    keep, files = policy.store.keep, policy.store.files
    for path, place in (
        ("store.keep.archive", None if keep is None else keep.archive),
        ("store.files", files if isinstance(files, Path) else None),
    ):
        fault = None if place is None else _fault_of(_folder_fault, Path(place))
        if fault is not None:
            yield path, fault


def _authorities(policy: Policy) -> Found:
    shared = policy.store.shared
    address = shared.entry if isinstance(shared, ServerGroup) else shared
    if address is not None and address.ca_file:
        yield from _of_no_use("store.shared", address.ca_file, "ca_file: ")
    hooks = policy.webhooks
    named = {f"webhooks.endpoints.{name}": one.ca_file for name, one in hooks.endpoints.items()}
    if hooks.jobs is not None:
        named["webhooks.jobs"] = hooks.jobs.ca_file
    if policy.server.otel is not None:
        named["server.otel"] = policy.server.otel.ca_file
    for path, file in named.items():
        if file:
            yield from _of_no_use(f"{path}.ca_file", file)


def _of_no_use(path: str, file: str, key: str = "") -> Found:
    try:
        read_trust(file)
    except (OSError, ValueError) as error:
        yield path, f"{key}{file} is of no use: {getattr(error, 'strerror', None) or error}"


def _clash(folder: Path, ledger: Path) -> str | None:
    """Whether the data folder is where the ledger would be."""
    data, file = Path(os.path.realpath(folder)), Path(os.path.realpath(ledger))
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
