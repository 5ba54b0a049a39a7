"""TLS for the listener: certificates that are there when they are needed, and their context.

Making certificates needs the ``cryptography`` package, which can take a fifth of a second to
import, so that is a room of its own (``gateway.tls.authority``), entered only when something must
be made.
"""

from __future__ import annotations

import datetime
import ssl
from collections.abc import Sequence
from pathlib import Path

from adapters.regular_files import checked
from gateway.tls.files import TlsError, TlsMaterial, current

__all__ = ["TlsError", "TlsMaterial", "current", "ensure_certificates", "server_context"]

# TLS 1.2 is kept for old clients, with forward secrecy and AEAD alone; OpenSSL picks TLS 1.3's.
_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"


def ensure_certificates(folder: Path, hosts: Sequence[str], now: datetime.datetime) -> TlsMaterial:
    """The certificate for ``hosts`` and the loopback names, made or renewed where needed.

    Safe when several processes call it at once. Raises TlsError when ``folder`` cannot be used.
    """
    found = current(folder, hosts, now)
    if found is not None:
        return found
    # Imported here because a warm start must not pay for ``cryptography``.
    from gateway.tls.authority import issue

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
        check_readable(kind, path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_CIPHERS)
    context.set_alpn_protocols(["http/1.1"])
    _load_pair(context, material)
    return context


def check_readable(kind: str, path: Path) -> None:
    """Raises TlsError where the file is not there or cannot be read."""
    try:
        checked(str(path))
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
