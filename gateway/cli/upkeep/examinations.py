"""What ``spillgate doctor`` looks at. Nothing is changed, bought or left behind."""

from __future__ import annotations

import asyncio
import datetime
import resource
import shutil
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path
from typing import Literal

import msgspec

from gateway.app import backend_maker
from gateway.cli.backends.probe_report import ProbeFindings, ask_all
from gateway.cli.serving.local_socket import answers
from gateway.clock import SystemClock
from gateway.environment import NotSet
from gateway.opening.stores import open_ledger
from gateway.policy.model import BackendSpec, Policy
from gateway.policy.sections.server import TlsFiles
from gateway.policy.syntax.problems import Mark
from gateway.policy.warnings.every import warnings_of
from gateway.preflight.listening import PortTaken, certificate_warnings, check_ports_are_free
from gateway.preflight.startable import exposed_files
from gateway.storage.base import StorageUnavailable
from gateway.storage.queries import UsageQuery
from gateway.storage.redis.breaker import Breaker
from gateway.storage.redis.connection import RedisConnection
from gateway.storage.redis.primary import FixedPrimary
from gateway.storage.redis.resp import pack
from gateway.store_urls import Address, Database, LedgerFile
from gateway.tls.files import material_in

Grade = Literal["ok", "warning", "problem"]

_MIB = 2**20
_LITTLE, _TOO_LITTLE = 1024 * _MIB, 64 * _MIB
"""Bytes that are free on the disk of the data."""
_FEW = 4096
"""Descriptors: a call holds two."""
_APART_S = 2.0
"""Clocks that differ by more count windows of limits differently."""
_EXPIRES_SOON = datetime.timedelta(days=14)
_WITHIN_S = 20.0


class Examined(msgspec.Struct, frozen=True):
    """One thing that was looked at."""

    what: str
    grade: Grade
    found: str
    do: str = ""
    """What to do about it; empty where nothing is."""


def of_policy(policy: Policy, places: Mapping[str, Mark]) -> Iterator[Examined]:
    """What ``check`` warns of."""
    today = datetime.datetime.now(datetime.UTC).date()
    found = (
        *warnings_of(policy, today=today, places=places),
        *certificate_warnings(policy, places),
        *exposed_files(policy, places),
    )
    yield Examined("policy", "ok", f"{policy.version} is valid")
    for one in found:
        yield Examined("policy", "warning", str(one))


def of_machine(policy: Policy) -> Iterator[Examined]:
    """The port, the certificate's names and end, the disk, the clock, descriptors."""
    yield _port(policy)
    yield from _tls(policy)
    yield _disk(Path(policy.server.data))
    yield _clock(policy)
    yield _descriptors()


def _port(policy: Policy) -> Examined:
    host, port = policy.server.listen
    if answers(Path(policy.server.data)):
        return Examined("port", "ok", f"a gateway with this data listens on {host}:{port}")
    try:
        check_ports_are_free(policy)
    except PortTaken as taken:
        return Examined("port", "problem", f"{host}:{port} is taken", str(taken))
    return Examined("port", "ok", f"{host}:{port} is free")


def _tls(policy: Policy) -> Iterator[Examined]:
    tls, (host, _) = policy.server.tls, policy.server.listen
    if tls == "off":
        if host not in ("127.0.0.1", "::1", "localhost"):
            do = "set server.tls, or let a proxy on this machine end TLS and listen on 127.0.0.1"
            yield Examined("tls", "warning", f"keys travel in the clear to {host}", do)
        return
    own = material_in(Path(policy.server.data) / "tls").cert
    file = Path(tls.cert) if isinstance(tls, TlsFiles) else own
    if file.is_file():
        yield _certificate(file, renews=not isinstance(tls, TlsFiles))
    elif not isinstance(tls, TlsFiles):
        yield Examined("tls", "ok", "a certificate is made at the first start")


def _certificate(file: Path, *, renews: bool) -> Examined:
    # Imported here because other commands must not pay for ``cryptography``.
    from gateway.tls.authority import end_of, names_in

    try:
        end = end_of(file)
    except (OSError, ValueError) as error:
        return Examined("tls", "problem", f"{file}: {error}", "give a PEM certificate")
    left = end - datetime.datetime.now(datetime.UTC)
    told = f"for {', '.join(names_in(file)) or 'no name'}, until {end:%Y-%m-%d}"
    if left < _EXPIRES_SOON and not renews:
        do = "renew it, and `kill -HUP` the gateway, which reads it again"
        return Examined("tls", "problem" if left.total_seconds() < 0 else "warning", told, do)
    return Examined("tls", "ok", told)


def _disk(folder: Path) -> Examined:
    there = next((one for one in (folder, *folder.absolute().parents) if one.exists()), Path("/"))
    free = shutil.disk_usage(there).free
    told = f"{free // _MIB} MiB are free for {folder}"
    if free >= _LITTLE:
        return Examined("disk", "ok", told)
    do = "free some, or move server.data; calls are refused when no row can be written"
    return Examined("disk", "problem" if free < _TOO_LITTLE else "warning", told, do)


def _clock(policy: Policy) -> Examined:
    place = policy.store.ledger
    written = _written(Path(place.path)) if isinstance(place, LedgerFile) else 0.0
    if time.time() + _APART_S < written:
        told = f"it is {written - time.time():.0f} s behind the ledger's last row"
        return Examined("clock", "problem", told, "set the clock: windows of limits go by it")
    return Examined("clock", "ok", f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M:%S} UTC")


def _written(file: Path) -> float:
    files = [file, file.with_name(f"{file.name}-wal")]
    return max((one.stat().st_mtime for one in files if one.exists()), default=0.0)


def _descriptors() -> Examined:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most != resource.RLIM_INFINITY and most < _FEW:
        do = "raise it: LimitNOFILE of a unit, or `ulimit -n`"
        return Examined("descriptors", "warning", f"{most}, and a call holds two", do)
    return Examined("descriptors", "ok", str(most))


# --- what is asked over the network --------------------------------------------------------------


async def of_stores(policy: Policy, has_ledger: bool) -> AsyncIterator[Examined]:
    """Whether the ledger's database and Redis answer, and Redis' clock."""
    if isinstance(policy.store.shared, Address):
        yield await _redis(policy.store.shared)
    if has_ledger:
        yield await _ledger(policy)


def has_ledger(policy: Policy) -> bool:
    """Whether there is one to read: a first start makes the file."""
    place = policy.store.ledger
    return isinstance(place, Database) or Path(place.path).exists()


async def _redis(address: Address) -> Examined:
    clock = SystemClock()
    connection = RedisConnection(
        FixedPrimary(address), 5.0, clock, Breaker(pause_s=0.04, longest_s=1.0)
    )
    try:
        seconds, micros = await connection.send(pack([b"TIME"]))  # type: ignore[misc]
    except (StorageUnavailable, OSError, TypeError, ValueError) as error:
        do = "start it, or put its right address into store.shared; see store.when_lost"
        return Examined("redis", "problem", str(error), do)
    finally:
        await connection.aclose()
    apart = int(seconds) + int(micros) / 1e6 - clock.time()
    if abs(apart) > _APART_S:
        do = "set both clocks by NTP: windows of limits go by Redis' own"
        return Examined("redis", "warning", f"its clock is {apart:+.1f} s from this one", do)
    return Examined("redis", "ok", f"answers, and its clock is {apart:+.1f} s from this one")


async def _ledger(policy: Policy) -> Examined:
    ledger = open_ledger(policy)
    try:
        now = SystemClock().time()
        query = UsageQuery(since=now - 3600, until=None, group_by=(), where={}, limit=1)
        async with asyncio.timeout(_WITHIN_S):
            await ledger.usage(query)
    except (StorageUnavailable, TimeoutError) as error:
        why = str(error) or "no answer in time"
        return Examined("ledger", "problem", why, "calls are refused while no row can be written")
    finally:
        await ledger.aclose()
    return Examined("ledger", "ok", "can be read")


async def of_backends(
    policy: Policy, unset: Callable[[BackendSpec], NotSet | None]
) -> list[Examined]:
    """Each asked as the gateway asks it, which runs no call; those of this machine are not."""
    return await asyncio.gather(*(_backend(one, unset(one)) for one in policy.backends.values()))


async def _backend(spec: BackendSpec, unset: NotSet | None) -> Examined:
    what = f"backend {spec.name}"
    if unset is not None:
        return Examined(what, "problem", unset.found, unset.do)
    if spec.kind == "local":
        return Examined(what, "ok", "its workers start with the gateway")
    try:
        async with asyncio.timeout(_WITHIN_S):
            found = await _asked(spec)
    except Exception as error:  # a kind's own code, a stranger's too
        why = f"{type(error).__name__}: {error}" if str(error) else "no answer in time"
        return Examined(what, "problem", why, f"`spillgate probe {spec.name}` tells more")
    refuted = [f"{one.claim}: {one.found}" for one in found.assumptions if one.holds is False]
    told = found.probe.told or ("warm" if found.probe.ready else "answers, and is cold")
    if found.well:
        return Examined(what, "ok", told)
    said = f"not so: {refuted[0]}" if refuted else told
    return Examined(what, "problem", said, f"`spillgate probe {spec.name}` tells more")


async def _asked(spec: BackendSpec) -> ProbeFindings:
    clock = SystemClock()
    backend = backend_maker(clock)(spec)
    await backend.start()
    try:
        return await ask_all(backend, spec, None, None, clock)
    finally:
        await backend.aclose()
