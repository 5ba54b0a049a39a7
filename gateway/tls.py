"""TLS for the listener: the files a certificate lives in, and the context that serves it.

A warm start reads one small JSON file here and goes on: making certificates needs the
``cryptography`` package, which can take a fifth of a second to import, so that is a room of its own
(``gateway.certificates``), entered only when something must be made.
"""

from __future__ import annotations

import datetime
import ipaddress
import ssl
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

LOOPBACK = ("localhost", "127.0.0.1", "::1")
"""The names that every certificate of ours is good for."""

# TLS 1.2 is kept for old clients, with forward secrecy and AEAD alone; OpenSSL picks TLS 1.3's.
_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"


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


def ensure_certificates(folder: Path, hosts: Sequence[str], now: datetime.datetime) -> TlsMaterial:
    """The certificate for ``hosts`` and the loopback names, made or renewed where needed.

    Safe when several processes call it at once. Raises TlsError when ``folder`` cannot be used.
    """
    found = current(folder, hosts, now)
    if found is not None:
        return found
    # Imported here because a warm start must not pay for ``cryptography``.
    from gateway.certificates import issue

    try:
        return issue(folder, hosts, now)
    except OSError as error:
        raise TlsError(
            f"cannot keep certificates in {folder}: {error.strerror or error}; make the folder "
            "writable, or set server.data to one that is"
        ) from error


def server_context(material: TlsMaterial) -> ssl.SSLContext:
    """A context for the listener: TLS 1.2 and later, HTTP/1.1.

    Raises TlsError that says which file is missing, unreadable, no PEM, encrypted, or not of
    the other's pair.
    """
    for kind, path in (("certificate", material.cert), ("private key", material.key)):
        _check_readable(kind, path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_CIPHERS)
    context.set_alpn_protocols(["http/1.1"])
    _load_pair(context, material)
    return context


def _check_readable(kind: str, path: Path) -> None:
    try:
        with path.open("rb") as file:
            file.read(1)
    except FileNotFoundError:
        raise TlsError(
            f"the TLS {kind} {path} does not exist; set server.tls to files that do, or to auto"
        ) from None
    except OSError as error:
        raise TlsError(f"the TLS {kind} {path} cannot be read: {error.strerror}") from error


def _load_pair(context: ssl.SSLContext, material: TlsMaterial) -> None:
    cert, key = material.cert, material.key

    def refuse_to_ask() -> str:
        # Without this OpenSSL would ask for the password on the terminal and wait.
        raise TlsError(f"the TLS private key {key} is encrypted; give one without a password")

    try:
        context.load_cert_chain(cert, key, password=refuse_to_ask)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise TlsError(f"the TLS private key {key} does not belong to {cert}") from error
        raise TlsError(
            f"{cert} and {key} are no usable pair: a PEM certificate (then its chain) and its "
            f"PEM private key are needed ({error.reason or 'not PEM'})"
        ) from error
