"""Where certificates lie, and what was issued before: all that a warm start needs to know."""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

LOOPBACK = ("localhost", "127.0.0.1", "::1")
"""The names that every certificate of ours is good for."""


class TlsError(Exception):
    """A certificate cannot be used. The message names the file and what to do about it."""


class TlsMaterial(msgspec.Struct, frozen=True, kw_only=True):
    """PEM files. ``cert`` and ``key`` may be one file; ``ca`` is what clients trust."""

    ca: Path
    cert: Path
    key: Path


class Issued(msgspec.Struct, frozen=True, kw_only=True):
    """What was issued, written beside the certificate. Times are seconds since the epoch."""

    hosts: tuple[str, ...]
    not_before: float
    not_after: float
    renew_after: float


def material_in(folder: Path) -> TlsMaterial:
    """Where our own certificate authority keeps its files; they need not exist.

    The leaf and its key share one file, so that no reader can see one without the other.
    """
    leaf = folder / "server.pem"
    return TlsMaterial(ca=folder / "ca.pem", cert=leaf, key=leaf)


def note_in(folder: Path) -> Path:
    """The JSON file that says what was issued; absent while a certificate is being replaced."""
    return folder / "issued.json"


def leaf_names(hosts: Iterable[str]) -> tuple[str, ...]:
    """The loopback names, then each of ``hosts`` once.

    A wildcard address such as 0.0.0.0 is no name that a client can ask for, and is left out.
    """
    wanted = (host.strip("[]").lower() for host in hosts)
    return tuple(dict.fromkeys([*LOOPBACK, *(host for host in wanted if not _is_wildcard(host))]))


def _is_wildcard(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return host == ""


def current(folder: Path, hosts: Sequence[str], now: datetime.datetime) -> TlsMaterial | None:
    """What was issued before, if it is whole, good for ``hosts`` and not near its end."""
    material = material_in(folder)
    try:
        issued = msgspec.json.decode(note_in(folder).read_bytes(), type=Issued)
    except (OSError, msgspec.MsgspecError):
        return None
    if not issued.not_before <= now.timestamp() < issued.renew_after:
        return None
    if issued.hosts != leaf_names(hosts):
        return None
    return material if material.ca.is_file() and material.cert.is_file() else None
