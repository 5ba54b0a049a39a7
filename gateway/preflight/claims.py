"""What the keys of a policy claim for the gateway alone: addresses to listen at, files to write.
All of them are compared here, so that no two claim the same. Pure but for links in paths."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Iterator, Mapping
from itertools import combinations
from pathlib import Path
from urllib.parse import urlsplit

from gateway.policy.model import Policy
from gateway.policy.sections.server import TlsFiles
from gateway.policy.sections.telemetry import MetricsListener
from gateway.policy.syntax.problems import join
from gateway.store_urls import LedgerFile

Found = Iterator[tuple[str, str]]
"""(key path, message)."""

_ANY = frozenset(("0.0.0.0", "::"))
_LOOPBACK = frozenset(("127.0.0.1", "::1"))
KEYS_FILE = "keys.db"
OWN_FILES = (
    "bills.db", "console.db", "gateway.lock", "gateway.sock", "kept-workers.json",
    "policy-files.json", "rented.json", "serving.lock", "tls",
)  # fmt: skip
"""Of the gateway itself, in its data folder, beside its keys."""
_JOURNALS = ("-wal", "-shm", "-journal")
"""What SQLite keeps beside a file (https://www.sqlite.org/tempfiles.html)."""


def addresses_of(policy: Policy) -> dict[str, tuple[str, int]]:
    """Key path -> (host, port), of all that the gateway listens at."""
    server = policy.server
    addresses = {"server.listen": server.listen}
    if isinstance(server.metrics, MetricsListener):
        addresses["server.metrics.listen"] = server.metrics.listen
    return addresses


def claim_faults(policy: Policy, *, files: bool) -> Found:
    """Two keys that want the same for themselves, and backends that are the gateway itself;
    ``files``: those of this machine too."""
    yield from _same_addresses(addresses_of(policy))
    yield from _own_address(policy)
    if files:
        yield from _file_faults(policy)


# --- addresses -----------------------------------------------------------------------------------


def _same_addresses(addresses: Mapping[str, tuple[str, int]]) -> Found:
    for (first, here), (second, there) in combinations(addresses.items(), 2):
        if here[1] and here[1] == there[1] and _meet(here[0], there[0]):
            yield (
                second,
                f"{_shown(there)} cannot be listened on beside {first}, {_shown(here)}: "
                "give it another port",
            )


def _own_address(policy: Policy) -> Found:
    """A call that is sent to the gateway itself comes back as another call, without an end."""
    host, port = policy.server.listen
    for name, spec in policy.backends.items():
        url = getattr(spec.settings, "base_url", None)
        if not port or not isinstance(url, str) or not url:
            continue
        parts = urlsplit(url)
        there = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
        if there == port and parts.hostname and _is_here(parts.hostname, host):
            path = join(join("backends", name), "base_url")
            yield path, f"{url} is where this gateway listens: it would send calls to itself"


def _is_here(host: str, listens: str) -> bool:
    """Whether a host surely is this machine's, at an address where the gateway listens."""
    numbers = _numbers(host)
    if numbers & _LOOPBACK:
        return bool(_numbers(listens) & (_ANY | numbers))
    return bool(numbers & _numbers(listens) - _ANY)


def _meet(one: str, other: str) -> bool:
    """Whether two hosts share an address of this machine. One that stands for all of them takes
    what another one names."""
    here, there = _numbers(one), _numbers(other)
    if here & there:
        return True
    return any(
        every in mine and any((":" in number) is (":" in every) for number in others)
        for mine, others in ((here, there), (there, here))
        for every in _ANY
    )


def _numbers(host: str) -> frozenset[str]:
    """The addresses of a host, as far as no name server is needed for them."""
    if host.lower().rstrip(".") == "localhost":
        return _LOOPBACK
    try:
        return frozenset((str(ipaddress.ip_address(host.strip("[]"))),))
    except ValueError:
        return frozenset((host.lower(),))


def _shown(address: tuple[str, int]) -> str:
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


# --- files ---------------------------------------------------------------------------------------


def _file_faults(policy: Policy) -> Found:
    """A file that two keys have written, or that is written for one and read for another."""
    claimed: dict[str, str] = {}
    for path, files in _written(policy).items():
        for file in files:
            before = claimed.setdefault(os.path.realpath(file), path)
            if before != path:
                yield path, _taken(file, before)
                break
    for path, named in _read(policy).items():
        before = claimed.get(os.path.realpath(named), "")
        if before.startswith("store."):
            yield path, _taken(named, before)
    for path, folder in _folders(policy).items():
        if before := claimed.get(os.path.realpath(folder), ""):
            yield path, _taken(folder, before).replace("another file", "a folder of its own")


def _taken(file: Path, by: str) -> str:
    whose = "the gateway's own" if by == "server.data" else f"written for {by}"
    return f"{file} is {whose}: give another file"


def _written(policy: Policy) -> dict[str, list[Path]]:
    """Key path -> the files that are written for it."""
    data, store = Path(policy.server.data), policy.store
    own = [*OWN_FILES]
    if store.keys is None and isinstance(store.ledger, LedgerFile):
        own.append(KEYS_FILE)
    files = {"server.data": [data / name for name in own]}
    for path, place in (("store.ledger", store.ledger), ("store.keys", store.keys)):
        if isinstance(place, LedgerFile):
            file = Path(place.path)
            beside = [file.with_name(file.name + end) for end in _JOURNALS] if file.name else []
            files[path] = [file, *beside]
    return files


def _folders(policy: Policy) -> dict[str, Path]:
    """Key path -> the folder that much is written to."""
    keep, files = policy.store.keep, policy.store.files
    found = {} if keep is None or keep.archive is None else {"store.keep.archive": keep.archive}
    if isinstance(files, Path):
        found["store.files"] = str(files)
    return {path: Path(folder) for path, folder in found.items()}


def _read(policy: Policy) -> dict[str, Path]:
    """Key path -> files of somebody else's, which must not be written over."""
    tls, found = policy.server.tls, dict[str, Path]()
    if isinstance(tls, TlsFiles):
        found = {"server.tls.cert": Path(tls.cert), "server.tls.key": Path(tls.key)}
    for name, spec in policy.backends.items():
        for field in ("ca_file", "client_cert", "client_key"):
            value = getattr(spec.settings, field, None)
            if isinstance(value, str) and value:
                found[join(join("backends", name), field)] = Path(value)
    return found
